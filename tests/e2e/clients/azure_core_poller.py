"""azure-core: the poller that Azure's own packages use, where a 202 has Operation-Location."""

import os

from azure.core import PipelineClient
from azure.core.polling import LROPoller
from azure.core.polling.base_polling import LROBasePolling
from azure.core.rest import HttpRequest

BASE = os.environ["BASE"]
with PipelineClient(BASE) as client:
    request = HttpRequest("PUT", f"{BASE}/things/one", json={"properties": {}})
    made = client.send_request(request, _return_pipeline_response=True)
    poller = LROPoller(client, made, lambda answer: answer.http_response, LROBasePolling(timeout=1))
    print(poller.result().status_code, poller.status())

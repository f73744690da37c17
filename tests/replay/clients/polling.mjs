// A tiny polite client for Node with the shop's own address in it: `polling.mjs fetch` or `polling.mjs https`.
import https from "node:https";
import { setTimeout as sleep } from "node:timers/promises";

const URL_ = "https://shop.example/admin/api/2020-10/checkouts/0123456789abcdef0123456789abcdef.json";

function byHttps(method, body) {
  return new Promise((resolve, reject) => {
    const request = https.request(URL_, { method, headers: { "Content-Type": "application/json" } }, (answer) => {
      answer.resume();
      answer.on("end", () => resolve([answer.statusCode, answer.headers["retry-after"]]));
    });
    request.on("error", reject);
    request.end(body);
  });
}

async function byFetch(method, body) {
  const answer = await fetch(URL_, { method, body, headers: { "Content-Type": "application/json" } });
  await answer.text();
  return [answer.status, answer.headers.get("retry-after")];
}

const ask = process.argv[2] === "fetch" ? byFetch : byHttps;
let [status, asked] = await ask("PUT", JSON.stringify({ checkout: { note: "y" } }));
while (status === 202) {
  await sleep(Number(asked ?? 1) * 1000 + 50);
  [status, asked] = await ask("GET");
}
if (status !== 200) throw new Error(`answered ${status}`);

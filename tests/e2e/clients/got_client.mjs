// got: calls a throttled API; it retries a GET by itself.
import got from "got";

const http = got.extend({ prefixUrl: process.env.BASE });
const first = await http.get("things/1");
const second = await http.get("things/2");
console.log(first.statusCode, second.statusCode);

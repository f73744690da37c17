// axios: `retry` calls a throttled API with axios-retry as it comes, `checkout` makes a checkout.
"use strict";
const axios = require("axios");
const axiosRetry = require("axios-retry").default;

const http = axios.create({ baseURL: process.env.BASE, proxy: false });
axiosRetry(http);

async function main() {
  if (process.argv[2] === "checkout") {
    const made = await http.post("/admin/api/2024-04/checkouts.json", { checkout: {} });
    console.log(made.status, made.data.checkout.completed_at);
    return;
  }
  const first = await http.get("/things/1");
  const second = await http.get("/things/2");
  console.log(first.status, second.status);
}
main();

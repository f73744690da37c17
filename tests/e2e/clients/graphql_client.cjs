// @shopify/graphql-client, what @shopify/shopify-api asks GraphQL with: a throttled API, two retries.
"use strict";
const { createGraphQLClient } = require("@shopify/graphql-client");

const client = createGraphQLClient({ url: `${process.env.BASE}/admin/api/2026-04/graphql.json`, headers: {}, retries: 2 });

async function main() {
  await client.request("{ shop { name } }");
  const second = await client.request("{ shop { name } }");
  console.log(second.errors ? second.errors.networkStatusCode : "fine");
}
main();

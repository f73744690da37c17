// shopify-api-node: makes a checkout; it follows the Location of a 202 by itself.
"use strict";
const Shopify = require("shopify-api-node");

const shop = new Shopify({
  shopName: new URL(process.env.BASE).hostname,
  accessToken: "shpat_0123456789abcdef",
  apiVersion: "2024-04",
});
shop.checkout
  .create({ line_items: [{ variant_id: 39072856, quantity: 1 }] })
  .then((checkout) => console.log("made", checkout.token.length));

// Loaded into Node by NODE_OPTIONS: Node's fetch and node:https know no proxy variable, so every TLS connection
// is led to 127.0.0.1:POLLTAPE_TLS_PORT instead; the name of the server that was meant goes with it (SNI).
"use strict";
const net = require("node:net");
const tls = require("node:tls");
const connect = tls.connect;
const port = Number(process.env.POLLTAPE_TLS_PORT);

function asOptions(args) {
  if (typeof args[0] === "object" && args[0] !== null) return { ...args[0] };
  const options = args.find((arg) => typeof arg === "object" && arg !== null) ?? {};
  const host = typeof args[1] === "string" ? args[1] : options.host;
  return { ...options, port: args[0], host };
}

tls.connect = function (...args) {
  const options = asOptions(args);
  if (!port || options.socket || options.path) return connect.apply(tls, args);
  const meant = options.servername || options.host || "localhost";
  const callback = args.find((arg) => typeof arg === "function");
  const led = { ...options, host: "127.0.0.1", port, servername: net.isIP(meant) ? "" : meant };
  return callback ? connect.call(tls, led, callback) : connect.call(tls, led);
};

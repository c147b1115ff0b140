// Decodes Sparkplug B payloads with npm's sparkplug-payload: one in hex a line of standard input, one JSON a line out.
"use strict";

const payload = require("sparkplug-payload").get("spBv1.0");

const plain = (name, value) =>
  value !== null && typeof value === "object" && "low" in value && "high" in value
    ? Number((BigInt(value.high >>> 0) << 32n) | BigInt(value.low >>> 0))
    : value;

for (const line of require("fs").readFileSync(0, "utf8").trim().split("\n")) {
  process.stdout.write(JSON.stringify(payload.decodePayload(Buffer.from(line, "hex")), plain) + "\n");
}

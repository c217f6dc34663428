// The audits of GraphQL over HTTP: every one must be met.
import { auditServer } from "graphql-http";
import { url } from "./lib.mjs";

const results = await auditServer({ url });
for (const { status, id, name, reason } of results) {
  if (status !== "ok") {
    console.error(`${status} ${id} ${name}: ${reason}`);
    process.exitCode = 1;
  }
}
console.log(`${results.filter((r) => r.status === "ok").length} of ${results.length} audits are met`);
if (results.length < 61) {
  console.error("there are fewer audits than there were");
  process.exitCode = 1;
}

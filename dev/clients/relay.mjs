// Relay: its compiler persists the documents into the file that the server trusts, and its runtime pages a connection to the end with
// nothing but their ids.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import runtime from "relay-runtime";
import { products, url } from "./lib.mjs";

const { ConnectionHandler, Environment, Network, RecordSource, Store, createOperationDescriptor, fetchQuery, getRequest } = runtime;

execFileSync(process.execPath, ["node_modules/relay-compiler/cli.js"], { stdio: ["ignore", "ignore", "inherit"] });
const documents = JSON.parse(readFileSync("documents.json", "utf8"));
assert.ok(Object.keys(documents).length >= 3);
const artifact = async (name) => (await import(`./relay/__generated__/${name}.graphql.js`)).default;
const [catalogue, page, refetch] = await Promise.all(["catalogueQuery", "cataloguePageQuery", "catalogueNodeQuery"].map(artifact));

let sent = 0;
const send = async ({ id, text }, variables) => {
  assert.equal(text, null);
  assert.ok(documents[id]);
  sent++;
  const response = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ documentId: id, variables }) });
  return response.json();
};

// The server reads the file again once it has changed.
for (const deadline = Date.now() + 20_000; ; ) {
  const { errors } = await send(refetch.params, { id: "00000000-0000-4000-8000-000000000001" });
  if (!errors) break;
  assert.equal(errors[0].extensions.code, "DOCUMENT_NOT_TRUSTED");
  assert.ok(Date.now() < deadline, "the server doesn't read its documents again");
  await new Promise((resolve) => setTimeout(resolve, 50));
}

const environment = new Environment({ network: Network.create(send), store: new Store(new RecordSource()) });
await fetchQuery(environment, catalogue, { count: 7, cursor: null }).toPromise();
environment.retain(createOperationDescriptor(getRequest(catalogue), { count: 7, cursor: null }));

const connection = () => {
  let record;
  environment.commitUpdate((store) => {
    const found = ConnectionHandler.getConnection(store.getRoot(), "catalogue_products", { orderBy: { field: "NAME" } });
    const info = found.getLinkedRecord("pageInfo");
    record = {
      ids: found.getLinkedRecords("edges").map((edge) => edge.getLinkedRecord("node").getValue("id")),
      more: info.getValue("hasNextPage"),
      end: info.getValue("endCursor"),
    };
  });
  return record;
};

for (let at = connection(); at.more; at = connection()) {
  const before = at.ids.length;
  const variables = { count: 7, cursor: at.end };
  await fetchQuery(environment, page, variables, { networkCacheConfig: { force: true } }).toPromise();
  assert.ok(connection().ids.length > before, "a page added nothing");
}
const { ids } = connection();
assert.equal(ids.length, products);
assert.equal(new Set(ids).size, products);

const { node } = await fetchQuery(environment, refetch, { id: ids[3] }).toPromise();
assert.deepEqual([node.__typename, node.id], ["Product", ids[3]]);
console.log(`Relay pages ${products} products to the end, by trusted documents alone (${sent} requests)`);

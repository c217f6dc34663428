// graphql-ws over a socket: a query, an error, and stock followed while it changes.
import assert from "node:assert/strict";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { adjust, firstProduct, url } from "./lib.mjs";

const closed = [];
const client = createClient({
  url: url.replace(/^http/, "ws"),
  webSocketImpl: WebSocket,
  retryAttempts: 0,
  on: { closed: (event) => closed.push(event.code) },
});

const once = async (payload) => {
  const all = [];
  for await (const result of client.iterate(payload)) all.push(result);
  assert.equal(all.length, 1);
  return all[0];
};

const { id, stock } = await firstProduct();
const answer = await once({ query: "query Q($id: ID!) { product(id: $id) { id } }", variables: { id } });
assert.deepEqual(answer, { data: { product: { id } } });
await assert.rejects(once({ query: "{ nothing }" }), (errors) => errors[0].extensions.code === "GRAPHQL_VALIDATION_FAILED");

const follow = { query: "subscription S($ids: [ID!]!) { stockChanged(productIds: $ids) { productId total } }", variables: { ids: [id] } };
const two = [client.iterate(follow), client.iterate(follow)]; // side by side, over the one socket
const next = async () => (await Promise.all(two.map((i) => i.next()))).map(({ value }) => value.data.stockChanged.total);
assert.deepEqual(await next(), [stock.total, stock.total]);
for (const delta of [1, -1]) {
  const total = await adjust(id, delta);
  assert.deepEqual(await next(), [total, total]);
}
await Promise.all(two.map((i) => i.return()));

await client.dispose();
assert.deepEqual(closed.filter((code) => code !== 1000), []);
console.log("graphql-ws queries and follows over one socket");

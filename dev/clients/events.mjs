// graphql-sse in its mode of distinct connections: a query, an error, and stock followed while it changes, by POST and by GET.
import assert from "node:assert/strict";
import { createClient } from "graphql-sse";
import { adjust, firstProduct, url } from "./lib.mjs";

const { id, stock } = await firstProduct();
for (const method of ["POST", "GET"]) {
  const client = createClient({
    url,
    method,
    retryAttempts: 0,
    headers: method === "GET" ? { "content-type": "application/json" } : {},
  });
  const once = async (payload) => {
    const all = [];
    for await (const result of client.iterate(payload)) all.push(result);
    assert.equal(all.length, 1);
    return all[0];
  };
  const answer = await once({ query: "query Q($id: ID!) { product(id: $id) { id } }", variables: { id } });
  assert.deepEqual(answer, { data: { product: { id } } });
  const { errors } = await once({ query: "{ nothing }" });
  assert.equal(errors[0].extensions.code, "GRAPHQL_VALIDATION_FAILED");

  const values = client.iterate({ query: "subscription S($ids: [ID!]!) { stockChanged(productIds: $ids) { total } }", variables: { ids: [id] } });
  const next = async () => (await values.next()).value.data.stockChanged.total;
  assert.equal(await next(), stock.total);
  for (const delta of [1, -1]) {
    const total = await adjust(id, delta);
    assert.equal(await next(), total);
  }
  await values.return();
  client.dispose();
}
console.log("graphql-sse queries and follows by POST and by GET");

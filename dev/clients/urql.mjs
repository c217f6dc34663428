// urql with its persisted exchange, by GET and by POST.
import assert from "node:assert/strict";
import { Client, fetchExchange, gql } from "@urql/core";
import { persistedExchange } from "@urql/exchange-persisted";
import { products, recorder, url } from "./lib.mjs";

const query = gql`
  query Urql($first: Int!, $after: String) {
    products(first: $first, after: $after) {
      edges {
        cursor
        node {
          id
          isOrderable
        }
      }
      pageInfo {
        hasNextPage
        endCursor
      }
    }
  }
`;

for (const preferGetMethod of ["force", false]) {
  const { seen, fetch } = recorder();
  const client = new Client({ url, fetch, preferGetMethod, exchanges: [persistedExchange({ preferGetForPersistedQueries: preferGetMethod }), fetchExchange] });
  const ids = new Set();
  for (let after = null, more = true; more; ) {
    const { data, error } = await client.query(query, { first: 7, after }, { requestPolicy: "network-only" }).toPromise();
    assert.equal(error, undefined);
    data.products.edges.forEach(({ node }) => ids.add(node.id));
    ({ endCursor: after, hasNextPage: more } = data.products.pageInfo);
  }
  assert.equal(ids.size, products);
  const texts = seen.filter((r) => /products\(first|products%28first/.test(r.url + (r.sent ?? "")));
  assert.ok(texts.length <= 1, `the document was sent ${texts.length} times`);
  assert.ok(seen.every((r) => r.status === 200), seen.map((r) => r.status).join());
}

const { error } = await new Client({ url, exchanges: [fetchExchange], preferGetMethod: false }).query(gql`query Bad { product(id: "x") { id } }`, {}).toPromise();
assert.equal(error.graphQLErrors[0].extensions.code, "BAD_USER_INPUT");
console.log("urql pages by hash, by GET and by POST");

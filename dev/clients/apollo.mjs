// Apollo Client with automatic persisted queries by GET: the first comes to a miss and registers its document, later ones hit.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { ApolloClient, ApolloLink, CombinedGraphQLErrors, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { products, url } from "./lib.mjs";
import { recorder } from "./lib.mjs";

const { seen, fetch } = recorder();
const client = () =>
  new ApolloClient({
    cache: new InMemoryCache(),
    clientAwareness: { name: "clients", version: "1" },
    link: ApolloLink.from([
      new PersistedQueryLink({ sha256: (text) => createHash("sha256").update(text).digest("hex"), useGETForHashedQueries: true }),
      new HttpLink({ uri: url, fetch }),
    ]),
  });

const query = gql`
  query Apollo($first: Int!) {
    products(first: $first, orderBy: { field: NAME }) {
      nodes {
        id
        name
        stock {
          available
        }
        variants {
          sku
          inventory {
            availableQuantity
            status
          }
        }
      }
      totalCount
    }
  }
`;

const first = await client().query({ query, variables: { first: 5 } });
assert.equal(first.data.products.nodes.length, 5);
assert.equal(first.data.products.totalCount, products);
assert.equal(first.data.products.nodes[0].__typename, "Product");
assert.deepEqual(seen.map((r) => r.method), ["GET", "POST"]);
assert.match(seen[0].body, /PersistedQueryNotFound/);
assert.equal(seen[0].headers.get("cache-control"), "no-store");

const again = await client().query({ query, variables: { first: 3 } });
assert.equal(again.data.products.nodes.length, 3);
assert.deepEqual(seen.map((r) => r.method), ["GET", "POST", "GET"]);
assert.ok(!seen[2].url.includes("query="), "the document was sent again");
assert.match(seen[2].headers.get("etag"), /^W\//);
const unchanged = await globalThis.fetch(seen[2].url, { headers: { "if-none-match": "*", "apollo-require-preflight": "1" } });
assert.equal(unchanged.status, 304);

// A mutation goes by POST, and its answer into the cache.
const id = first.data.products.nodes[0].id;
const { data } = await client().mutate({
  mutation: gql`
    mutation Count($input: AdjustStockInput!) {
      adjustStock(input: $input) {
        product {
          id
          stock {
            total
          }
        }
        userErrors {
          code
          message
        }
      }
    }
  `,
  variables: { input: { productId: id, total: 77, reason: "counted" } },
});
assert.deepEqual(data.adjustStock.userErrors, []);
assert.equal(data.adjustStock.product.stock.total, 77);

// Errors keep their codes, with a status of their own or without.
await assert.rejects(client().query({ query: gql`query Bad { products(first: 0) { totalCount } }` }), (error) => {
  assert.ok(CombinedGraphQLErrors.is(error), error);
  assert.equal(error.errors[0].extensions.code, "BAD_USER_INPUT");
  return true;
});
await assert.rejects(client().query({ query: gql`query Invalid { nothing }` }), (error) => {
  assert.ok(CombinedGraphQLErrors.is(error), error);
  assert.equal(error.errors[0].extensions.code, "GRAPHQL_VALIDATION_FAILED");
  return true;
});
console.log("Apollo Client reads by hash, and writes");

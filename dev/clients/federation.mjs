// The service as a subgraph: its schema composes with another's, and a gateway answers across the two.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { ApolloGateway } from "@apollo/gateway";
import { ApolloServer, HeaderMap } from "@apollo/server";
import { buildSubgraphSchema } from "@apollo/subgraph";
import { composeServices, compositionHasErrors } from "@theguild/federation-composition";
import { parse } from "graphql";
import { url } from "./lib.mjs";

const ask = async (query, variables) => {
  const response = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ query, variables }) });
  return response.json();
};
const { data } = await ask("{ _service { sdl } products(first: 3) { nodes { id name variants { id sku } } } }");
const [one, two] = data.products.nodes;

// Another subgraph, which refers to products and variants, and adds a field to each.
const reviews = parse(`
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.5", import: ["@key", "@shareable"])
  type Query { reviews: [Review!]! }
  type Review { stars: Int! of: Product variant: ProductVariant }
  type Product @key(fields: "id") { id: ID! reviews: [Review!]! }
  type ProductVariant @key(fields: "id") { id: ID! weight: Int! }
  type PageInfo @shareable { hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String }
`);
const all = [
  { stars: 5, of: { id: one.id }, variant: { id: one.variants[0].id } },
  { stars: 1, of: { id: two.id }, variant: { id: two.variants[1].id } },
  { stars: 3, of: { id: "00000000-0000-4000-8000-000000000001" }, variant: null },
];
const server = new ApolloServer({
  schema: buildSubgraphSchema({
    typeDefs: reviews,
    resolvers: {
      Query: { reviews: () => all },
      Product: { reviews: ({ id }) => all.filter((r) => r.of.id === id) },
      ProductVariant: { weight: () => 12 },
    },
  }),
});
await server.start();
const http = createServer(async (req, res) => {
  let text = "";
  for await (const chunk of req) text += chunk;
  const headers = new HeaderMap(Object.entries(req.headers));
  const { body, status, headers: sent } = await server.executeHTTPGraphQLRequest({
    httpGraphQLRequest: { method: req.method, headers, search: "", body: JSON.parse(text) },
    context: async () => ({}),
  });
  res.writeHead(status ?? 200, Object.fromEntries(sent));
  res.end(body.string);
});
await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));

const composed = composeServices([
  { name: "products", url, typeDefs: parse(data._service.sdl) },
  { name: "reviews", url: `http://127.0.0.1:${http.address().port}`, typeDefs: reviews },
]);
assert.ok(!compositionHasErrors(composed), composed.errors?.map((e) => e.message).join("\n"));

const gateway = new ApolloServer({ gateway: new ApolloGateway({ supergraphSdl: composed.supergraphSdl }) });
await gateway.start();
const across = async (query, variables) => {
  const { body } = await gateway.executeOperation({ query, variables });
  return body.singleResult;
};

// From the other subgraph to this one: what it knows of entities is asked for at once, and what isn't there is null.
const from = await across("{ reviews { stars of { name stock { available } variants { inventory { status } } } variant { sku weight } } }");
assert.equal(from.errors, undefined, JSON.stringify(from.errors));
assert.deepEqual(from.data.reviews.map((r) => r.of?.name), [one.name, two.name, undefined]);
assert.deepEqual(from.data.reviews.map((r) => r.variant?.sku), [one.variants[0].sku, two.variants[1].sku, undefined]);
assert.equal(typeof from.data.reviews[0].of.stock.available, "number");

// And from this one to the other.
const to = await across("query ($id: ID!) { product(id: $id) { name reviews { stars } variants { sku weight } } }", { id: one.id });
assert.equal(to.errors, undefined, JSON.stringify(to.errors));
assert.deepEqual(to.data.product.reviews.map((r) => r.stars), [5]);
assert.deepEqual(to.data.product.variants.map((v) => v.weight), [12, 12]);

await Promise.all([gateway.stop(), server.stop()]);
http.closeAllConnections();
http.close();
console.log("the schema composes, and a gateway answers across subgraphs");

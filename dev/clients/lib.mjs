// What the clients have in common.
export const url = process.env.GRAPHQL_URL;
export const products = Number(process.env.PRODUCTS);

// recorder is a fetch that keeps what was sent and what came of it.
export function recorder() {
  const seen = [];
  const recorded = async (target, init = {}) => {
    const response = await fetch(target, init);
    const body = await response.clone().text();
    seen.push({ method: init.method ?? "GET", url: String(target), sent: init.body, status: response.status, headers: response.headers, body });
    return response;
  };
  return { seen, fetch: recorded };
}

async function ask(query, variables = {}) {
  const response = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ query, variables }) });
  const { data, errors } = await response.json();
  if (errors) throw new Error(errors[0].message);
  return data;
}

// firstProduct is one of the products, with its stock.
export async function firstProduct() {
  return (await ask("{ products(first: 1) { nodes { id stock { total } } } }")).products.nodes[0];
}

// adjust changes a product's stock and returns the total it then has.
export async function adjust(productId, delta) {
  const input = { productId, delta, reason: "a client's test" };
  const { product } = (await ask("mutation A($input: AdjustStockInput!) { adjustStock(input: $input) { product { stock { total } } } }", { input })).adjustStock;
  return product.stock.total;
}

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

'use strict';

const firstQuery = `# Products with their stock and what the Inventory Service says of their variants.
# Ctrl-Enter runs the operation, Ctrl-Space completes.
query Products {
  products(first: 5, orderBy: { field: NAME }) {
    totalCount
    nodes {
      id
      name
      isOrderable
      stockStatus
      stock { total reserved available version }
      variants {
        sku
        isOrderable
        inventory { availableQuantity status isStale ageSeconds source }
      }
    }
    pageInfo { hasNextPage endCursor }
  }
}
`;

// Subscriptions go over a socket, which is told the headers of the editor: a token goes there as {"Authorization": "Bearer …"}.
const socket = new URL('/graphql', window.location.href);
socket.protocol = socket.protocol === 'https:' ? 'wss:' : 'ws:';

ReactDOM.createRoot(document.getElementById('explorer')).render(
  React.createElement(GraphiQL, {
    fetcher: GraphiQL.createFetcher({ url: '/graphql', subscriptionUrl: socket.href }),
    defaultQuery: firstQuery,
    defaultEditorToolsVisibility: true,
    isHeadersEditorEnabled: true,
    shouldPersistHeaders: false, // a token stays in the page
    showPersistHeadersSettings: false,
  }),
);

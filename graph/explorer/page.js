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

ReactDOM.createRoot(document.getElementById('explorer')).render(
  React.createElement(GraphiQL, {
    fetcher: GraphiQL.createFetcher({ url: '/graphql' }),
    defaultQuery: firstQuery,
    defaultEditorToolsVisibility: true,
  }),
);

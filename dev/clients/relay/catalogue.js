// What the compiler reads; the artifacts it makes of this are what relay.mjs runs.
import { graphql } from "relay-runtime";

export const query = graphql`
  query catalogueQuery($count: Int!, $cursor: String) {
    ...catalogue_products @arguments(count: $count, cursor: $cursor)
  }
`;

export const fragment = graphql`
  fragment catalogue_products on Query
  @refetchable(queryName: "cataloguePageQuery")
  @argumentDefinitions(count: { type: "Int", defaultValue: 10 }, cursor: { type: "String" }) {
    products(first: $count, after: $cursor, orderBy: { field: NAME }) @connection(key: "catalogue_products") {
      edges {
        node {
          id
          name
          stockStatus
          variants {
            id
            sku
            inventory {
              availableQuantity
            }
          }
        }
      }
    }
  }
`;

export const refetch = graphql`
  query catalogueNodeQuery($id: ID!) {
    node(id: $id) {
      __typename
      id
      ... on Product {
        name
      }
    }
  }
`;

package product_test

import (
	"fmt"

	"product-service/product"
)

// The words of a text are what a search finds it by.
func ExampleWords() {
	fmt.Println(product.Words("Rain Coat, blue", "SKU-7 coat", "Weißbier, Käse"))
	// Output: [7 blue coat kase rain sku weissbier]
}

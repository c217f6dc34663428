package command

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"product-service/product"
)

// What the quick reader takes, encoding/json reads alike: any mix of members, spaces, repeats and things that aren't JSON.
func TestTheQuickReaderReadsAsEncodingJSONDoes(t *testing.T) {
	mostly := func(usual, odd []string) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			if rapid.IntRange(0, 9).Draw(t, "odd") == 9 {
				return rapid.SampledFrom(odd).Draw(t, "odd one")
			}
			return rapid.SampledFrom(usual).Draw(t, "usual")
		})
	}
	text := mostly([]string{"commandId", "type", "productId", "reservationId", "sagaId", "expiresAt", "reason"}, []string{"quantity", "SagaID", "other", "sag\\u0061Id"})
	texts := mostly([]string{`"a"`, `""`, `"a,b}:{"`}, []string{`"a b\\c"`, `"\u0041"`, "\"\x00\"", "\"\xff\"", `"é"`, "null", "3", `"`, "", "{}", "[1]"})
	number := mostly([]string{"quantity"}, []string{"Quantity", "type"})
	numbers := mostly([]string{"3", "-7", "0", "-0", "999999999999999999"}, []string{"03", "1.0", "1e3", "9223372036854775808", "true", "null", "3x", "- 3", "", "-"})
	space := mostly([]string{"", "", " ", "\n\t"}, []string{"", "", "\v"})
	end := mostly([]string{"}"}, []string{"", "} ", "}}", ",}", "}x"})
	rapid.Check(t, func(t *rapid.T) {
		var members []string
		for range rapid.IntRange(0, 5).Draw(t, "members") {
			name, value := text, texts
			if rapid.Bool().Draw(t, "number") {
				name, value = number, numbers
			}
			members = append(members, space.Draw(t, "s")+`"`+name.Draw(t, "name")+`"`+space.Draw(t, "s")+":"+space.Draw(t, "s")+value.Draw(t, "value")+space.Draw(t, "s"))
		}
		object := "{" + strings.Join(members, ",") + end.Draw(t, "end")
		var quick, slow body
		var release releaseBody
		if !product.Members(object, quick.take) {
			return // it is read by encoding/json
		}
		if err := errors.Join(json.Unmarshal([]byte(object), &slow), json.Unmarshal([]byte(object), &release)); err != nil {
			t.Fatalf("%q was read, and is refused: %v", object, err)
		}
		slow.Reason, release.ExpiresAt = release.Reason, slow.ExpiresAt // each reads its own
		if !reflect.DeepEqual(quick, slow) || !reflect.DeepEqual(quick, body(release)) {
			t.Fatalf("%q\nquick   %+v\nslow    %+v\nrelease %+v", object, quick, slow, release)
		}
	})
}

package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"product-service/dev/issuer"
)

// export asks for a product's movements, and returns the status and the rows.
func (s *server) export(product string) (int, string, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+s.http+"/export/stock-movements?format=ndjson&productId="+product, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	resp, err := web.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	rows, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(rows), err
}

// The server starts while the issuer of tokens is away, serves who needs none, takes its tokens up
// once it is there, takes up its new keys, and goes on with those it has when it is gone again.
func TestTokens(t *testing.T) {
	w := newWorld(t)
	address := port(t)
	s := w.start("AUTH_MODE=jwt", "AUTH_ISSUER=http://"+address, "AUTH_AUDIENCE="+issuer.Audience, "AUTH_JWKS_URL=http://"+address+"/.well-known/jwks.json")
	product, variant := uuid.NewString(), uuid.NewString()
	refused := func(as, code string) {
		t.Helper()
		if a, err := s.ask(createMutation, map[string]any{"input": map[string]any{"id": product, "name": "x", "description": "", "initialStock": 1, "variants": []any{}}}); err != nil || !slices.Equal(a.codes(), []string{code}) {
			t.Errorf("%s, a mutation is answered with %v, %v", as, a, err)
		}
		if status, rows, err := s.export(product); err != nil || status != map[string]int{"UNAUTHENTICATED": 401, "FORBIDDEN": 403}[code] {
			t.Errorf("%s, an export is answered with %d %s, %v", as, status, rows, err)
		}
	}
	var none struct{ Products struct{ TotalCount int } }
	if err := s.query(`{ products { totalCount } }`, nil, &none); err != nil {
		t.Errorf("without a token, products: %v", err)
	}
	refused("without a token", "UNAUTHENTICATED")
	s.token = "x.y.z"
	refused("while there are no keys", "UNAUTHENTICATED")

	from, err := issuer.Start(address)
	if err != nil {
		t.Fatal(err)
	}
	token := func(scopes ...string) string {
		t.Helper()
		text, err := from.Token("ann", time.Hour, scopes...)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	everything := []string{"catalog:write", "stock:history"}
	s.token = token(everything...)
	within(t, time.Minute, "the issuer's tokens are taken", func() error {
		_, err := s.stock(product)
		return err
	})
	if _, err := s.createProduct(product, variant, 5); err != nil {
		t.Fatal(err)
	}
	s.token = token("operations")
	refused("without the scope", "FORBIDDEN")

	if err := from.Rotate(); err != nil {
		t.Fatal(err)
	}
	s.token = token(everything...)
	if a, err := s.ask(`mutation($id: ID!) { adjustStock(input: {productId: $id, delta: 2, reason: "found"}) { version } }`, map[string]any{"id": product}); err != nil || len(a.Errors) > 0 {
		t.Errorf("with a token of the new key: %+v, %v", a, err)
	}
	if err := from.Stop(); err != nil {
		t.Fatal(err)
	}
	within(t, time.Minute, "the movements say who made them", func() error {
		all, err := s.movements(product)
		if err != nil || len(all) != 2 || all[0].Actor != "ann" || all[1].Actor != "ann" {
			return fmt.Errorf("%+v, %w", all, err)
		}
		return nil
	})
	if status, rows, err := s.export(product); err != nil || status != http.StatusOK || strings.Count(rows, `"actor":"ann"`) != 2 {
		t.Errorf("with a token, while the issuer is away, an export is answered with %d %s, %v", status, rows, err)
	}
	said, err := os.ReadFile(s.log)
	if err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(s.token, ".") {
		if strings.Contains(string(said), part) {
			t.Errorf("the log has a part of a token: %s", part)
		}
	}
}

package graph

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"product-service/dev/issuer"
	"product-service/graph/auth"
	"product-service/projection/read"
)

// limitedGate lets every caller ask for so much.
func limitedGate(t testing.TB, settings ...string) *Gate {
	t.Helper()
	v, err := auth.New(auth.Config{Mode: auth.ModeNone}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	g, err := NewGate(testConfig(t, settings...), v, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func limitedHandler(t testing.TB, g *Gate) *API {
	t.Helper()
	f := &fakes{}
	h, err := Handler(testConfig(t), Services{Reads: f, Levels: f, Commands: f, Gate: g}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

const oneProduct = `{"query":"{product(id:\"` + someID + `\"){id}}"}` // weighs 501

func TestNobodyIsLimitedByDefault(t *testing.T) {
	h := limitedHandler(t, limitedGate(t))
	for range 50 {
		if got := send(t, h, exchange{body: oneProduct}.request()); got.status != http.StatusOK {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
}

func TestWhatACallerMayAskFor(t *testing.T) {
	for _, media := range []string{mediaJSON, mediaResponse} {
		h := limitedHandler(t, limitedGate(t, "RATE_LIMIT", "10", "RATE_LIMIT_BURST", "1200"))
		ask := func(body string) reply {
			t.Helper()
			return send(t, h, exchange{body: body, header: []string{"Accept", media}}.request())
		}
		for range 2 {
			if got := ask(oneProduct); got.status != http.StatusOK || len(got.Errors) > 0 {
				t.Fatalf("what there is room for: %d %s", got.status, got.body)
			}
		}
		got := ask(oneProduct)
		after, err := strconv.Atoi(got.header.Get("Retry-After"))
		if got.status != http.StatusTooManyRequests || !slices.Equal(got.codes(), []string{string(RateLimited)}) || got.Data != nil || err != nil || after < 25 || after > 31 {
			t.Errorf("the third is answered with %d %s, to be tried again after %q", got.status, got.body, got.header.Get("Retry-After"))
		}
		if got.Errors[0].Extensions["retryAfter"] != float64(after) {
			t.Errorf("the error says %v, the header %d", got.Errors[0].Extensions, after)
		}
		if got := ask(plainQuery); got.status != http.StatusOK {
			t.Errorf("something light, for which there is room, is answered with %d %s", got.status, got.body)
		}
		for range 30 { // documents that aren't executed weigh something too
			got = ask(`{"query":"{"}`)
		}
		if got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") == "" {
			t.Errorf("nonsense without end is answered with %d %s", got.status, got.body)
		}
	}
}

func TestTimeGivesRoomAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := limitedGate(t, "RATE_LIMIT", "100", "RATE_LIMIT_BURST", "1000")
		ctx := g.Admit(t.Context(), httptest.NewRequest(http.MethodGet, "/", nil), auth.Caller{})
		if err := spend(ctx, 5000); err != nil {
			t.Fatalf("what weighs more than anybody can save up is never executed: %v", err)
		}
		err := spend(ctx, 200)
		spent, ok := err.(*tooMuch)
		if !ok || spent.after != 2 {
			t.Fatalf("with nothing left: %v", err)
		}
		if err := spend(ctx, 0); err == nil {
			t.Error("with nothing left there is something left")
		}
		time.Sleep(2 * time.Second)
		if err := spend(ctx, 200); err != nil {
			t.Errorf("after the time that was told: %v", err)
		}
	})
}

func TestCallersAreKnownBySubjectElseByAddress(t *testing.T) {
	g := limitedGate(t, "RATE_LIMIT", "1", "TRUSTED_PROXIES", "10.0.0.0/8,192.0.2.7,fd00::/8")
	key := func(subject, remote string, forwarded ...string) string {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = remote
		for _, f := range forwarded {
			r.Header.Add("X-Forwarded-For", f)
		}
		b := g.limits.of(r, auth.Caller{Subject: subject})
		for _, k := range g.limits.callers.Keys() {
			if left, _ := g.limits.callers.Peek(k); left == b.left {
				return k
			}
		}
		return "nobody"
	}
	for _, x := range []struct{ got, want string }{
		{key("ann", "198.51.100.1:99"), "subject ann"},
		{key("ann", "203.0.113.9:1"), "subject ann"},
		{key("address 198.51.100.1", "203.0.113.9:1"), "subject address 198.51.100.1"},
		{key("", "198.51.100.1:99"), "address 198.51.100.1"},
		{key("", "198.51.100.1:4711"), "address 198.51.100.1"},
		{key("", "[::ffff:198.51.100.1]:4711"), "address 198.51.100.1"},
		{key("", "[2001:db8:1:2:3:4:5:6]:1"), "address 2001:db8:1:2::/64"},
		{key("", "[2001:db8:1:2:ffff::1]:1"), "address 2001:db8:1:2::/64"},
		{key("", "[fe80::1%eth0]:1"), "address fe80::/64"},
		{key("", "198.51.100.1:99", "203.0.113.9"), "address 198.51.100.1"},                           // nobody's proxy
		{key("", "10.1.2.3:99", "203.0.113.9"), "address 203.0.113.9"},                                // ours
		{key("", "10.1.2.3:99", "1.1.1.1, 203.0.113.9"), "address 203.0.113.9"},                       // the client made the first up
		{key("", "10.1.2.3:99", "1.1.1.1", "203.0.113.9, 192.0.2.7,10.9.9.9"), "address 203.0.113.9"}, // through several of ours
		{key("", "[fd00::1]:99", "2001:db8:1:2:9::9"), "address 2001:db8:1:2::/64"},                   // and in IPv6
		{key("", "10.1.2.3:99", "203.0.113.9, nonsense"), "address 10.1.2.3"},                         // what can't be read isn't passed over
		{key("", "10.1.2.3:99", ""), "address 10.1.2.3"},                                              // it says nothing
		{key("", "10.1.2.3:99", strings.Repeat("10.0.0.1, ", 100)+"10.0.0.2"), "address 10.0.0.1"},    // all are ours
		{key("", "10.1.2.3:99", "::ffff:203.0.113.9"), "address 203.0.113.9"},                         // the same in the other form
		{key("", "10.1.2.3:99", "203.0.113.9:1234"), "address 10.1.2.3"},                              // no address
		{key("", "@", "203.0.113.9"), "address @"},                                                    // a socket of a file
	} {
		if x.got != x.want {
			t.Errorf("a caller is known as %q, want %q", x.got, x.want)
		}
	}
}

func TestCallersDontShareWhatTheyHave(t *testing.T) {
	g := limitedGate(t, "RATE_LIMIT", "1", "RATE_LIMIT_BURST", "100", "RATE_LIMIT_CALLERS", "10")
	as := func(subject string) context.Context {
		return g.Admit(t.Context(), httptest.NewRequest(http.MethodGet, "/", nil), auth.Caller{Subject: subject})
	}
	if spend(as("ann"), 100) != nil || spend(as("ann"), 1) == nil || spend(as("bob"), 100) != nil {
		t.Error("ann has more than she has, or bob less")
	}
	for i := range 1000 {
		_ = as(fmt.Sprint(i))
	}
	if n := g.limits.callers.Len(); n != 10 {
		t.Errorf("%d callers are remembered, want 10", n)
	}
}

func TestAnExportWeighs(t *testing.T) {
	exports := 0
	g := limitedGate(t, "RATE_LIMIT", "1", "RATE_LIMIT_BURST", fmt.Sprint(exportCost+100))
	server := httptest.NewServer(Export(testConfig(t), g, exporterFunc(
		func(read.MovementFilter, read.MovementID, func(*read.Movement) error) error { exports++; return nil }), slog.New(slog.DiscardHandler)))
	defer server.Close()
	for _, want := range []int{http.StatusOK, http.StatusTooManyRequests} {
		got, body, err := fetch(t, server.URL)
		if err != nil || got.StatusCode != want || want == http.StatusTooManyRequests && (got.Header.Get("Retry-After") == "" || !strings.Contains(body, string(RateLimited))) {
			t.Errorf("%d %s, %v; want %d", got.StatusCode, body, err, want)
		}
	}
	if exports != 1 {
		t.Errorf("%d exports were made", exports)
	}
}

// Who tries tokens out is slowed down by address, before anything of his is executed.
func TestTryingTokensOutWeighs(t *testing.T) {
	from, err := issuer.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Stop()
	g := limitedGate(t, "RATE_LIMIT", "1", "RATE_LIMIT_BURST", "100")
	g.Verifier = gateFor(t, from).Verifier
	h := limitedHandler(t, g)
	ask := func(token string) reply {
		return send(t, h, exchange{body: plainQuery, header: []string{"Authorization", "Bearer " + token}}.request())
	}
	for range 9 {
		if got := ask("x.y.z"); got.status != http.StatusUnauthorized {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	for range 3 {
		_ = ask("x.y.z")
	}
	if got := ask("x.y.z"); got.status != http.StatusTooManyRequests {
		t.Errorf("after many tokens: %d %s", got.status, got.body)
	}
	good, err := from.Token("ann", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(good); got.status != http.StatusOK {
		t.Errorf("ann, from the same address: %d %s", got.status, got.body)
	}
}

func TestEachOperationOfASocketWeighs(t *testing.T) {
	s := serveAPI(t, limitedHandler(t, limitedGate(t, "RATE_LIMIT", "1", "RATE_LIMIT_BURST", "1200")), nil)
	client := s.connected(t)
	for i, want := range []string{"next", "next", "error"} {
		id := fmt.Sprint(i)
		client.begin(id, `{product(id:"`+someID+`"){id}}`, "")
		got := client.hear()
		if got.Type != want || got.ID != id || want == "error" && !strings.Contains(string(got.Payload), string(RateLimited)) {
			t.Errorf("operation %d is answered with %+v %s", i, got, got.Payload)
		}
		if want == "next" {
			_ = client.hear() // complete
		}
	}
	client.begin("light", `{__typename}`, "")
	if got := client.hear(); got.Type != "next" {
		t.Errorf("the socket doesn't go on: %+v", got)
	}
}

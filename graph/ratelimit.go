package graph

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"product-service/graph/auth"
)

const (
	refusedCost = 10     // of a request that isn't executed
	exportCost  = 10_000 // of an export, however long it is
	maxRate     = 1_000_000_000
	ipv6Prefix  = 64 // bits: a host can have as many addresses below it as it likes
)

// RateLimitConfig is what an operator can set of how much each caller may ask for.
type RateLimitConfig struct {
	// PerSecond is the weight of operations that one caller may have executed in a second, on
	// average; GRAPHQL_MAX_COST says what weighs how much. A caller is known by the token's
	// subject, else by address. 0 is no limit.
	PerSecond int `env:"RATE_LIMIT" envDefault:"0"`

	// TrustedProxies are the addresses of proxies whose X-Forwarded-For is believed, or ranges such
	// as 10.0.0.0/8, separated by commas. Without them a caller's address is that of the
	// connection.
	TrustedProxies []string `env:"TRUSTED_PROXIES"`

	// Tuning.

	// Burst is how much weight a caller can save up. 0 is as much as ten seconds give.
	Burst int `env:"RATE_LIMIT_BURST" envDefault:"0"`

	// Callers is how many callers are remembered, about 200 bytes each. The caller that was seen
	// longest ago is forgotten first, and begins with a full budget.
	Callers int `env:"RATE_LIMIT_CALLERS" envDefault:"50000"`
}

// Validate returns every fault of the configuration, joined.
func (c RateLimitConfig) Validate() error {
	var faults []error
	for _, it := range []struct {
		name         string
		value, least int
	}{{"RATE_LIMIT", c.PerSecond, 0}, {"RATE_LIMIT_BURST", c.Burst, 0}, {"RATE_LIMIT_CALLERS", c.Callers, 1}} {
		if it.value < it.least || it.value > maxRate {
			faults = append(faults, fmt.Errorf("%s=%d is out of bounds; allowed: %d to %d", it.name, it.value, it.least, maxRate))
		}
	}
	for _, proxy := range c.TrustedProxies {
		if _, err := parsePrefix(proxy); err != nil {
			faults = append(faults, fmt.Errorf("TRUSTED_PROXIES has %q; allowed: addresses of IP, such as 10.1.2.3, and ranges of them, such as 10.0.0.0/8", proxy))
		}
	}
	return errors.Join(faults...)
}

// limits bound what each caller may ask for, in the weight that costOf gives to operations. Where
// there are too many callers the one that was seen longest ago is forgotten, and begins with a full
// budget.
type limits struct {
	perSecond rate.Limit
	burst     int
	proxies   proxies
	callers   *lru.Cache[string, *rate.Limiter]
	refused   prometheus.Counter
}

func newLimits(c RateLimitConfig, trusted proxies, reg prometheus.Registerer) (*limits, error) {
	if c.PerSecond == 0 {
		return nil, nil
	}
	callers, err := lru.New[string, *rate.Limiter](c.Callers)
	if err != nil {
		return nil, err
	}
	l := &limits{perSecond: rate.Limit(c.PerSecond), burst: c.Burst, callers: callers, proxies: trusted,
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "product_service_rate_limited_total", Help: "Requests and operations that were refused because their caller asked for too much.",
		})}
	if l.burst == 0 {
		l.burst = 10 * c.PerSecond
	}
	reg.MustRegister(l.refused)
	return l, nil
}

// proxies are those whose X-Forwarded-For is believed.
type proxies []netip.Prefix

func parseProxies(texts []string) (proxies, error) {
	var all proxies
	for _, text := range texts {
		prefix, err := parsePrefix(text)
		if err != nil {
			return nil, err
		}
		all = append(all, prefix)
	}
	return all, nil
}

// parsePrefix reads an address, or a range of them such as 10.0.0.0/8.
func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}

// of returns what a caller has: known by the subject of the token, else by address.
func (l *limits) of(r *http.Request, c auth.Caller) *budget {
	if l == nil {
		return nil
	}
	key := "subject " + c.Subject
	if c.Subject == "" {
		key = "address " + l.proxies.address(r)
	}
	if left, ok := l.callers.Get(key); ok {
		return &budget{l, left}
	}
	left := rate.NewLimiter(l.perSecond, l.burst)
	if before, ok, _ := l.callers.PeekOrAdd(key, left); ok {
		left = before // another request of the caller was faster
	}
	return &budget{l, left}
}

// address is where a request came from. What proxies say of it counts as far as they are trusted,
// from the nearest on.
func (p proxies) address(r *http.Request) string {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr // no address of IP
	}
	from := at.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && p.trusts(from); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		from = hop.Unmap()
	}
	if from.Is6() {
		if prefix, err := from.WithZone("").Prefix(ipv6Prefix); err == nil {
			return prefix.String()
		}
	}
	return from.String()
}

func (p proxies) trusts(from netip.Addr) bool {
	return slices.ContainsFunc(p, func(prefix netip.Prefix) bool { return prefix.Contains(from) })
}

// budget is what a caller may still ask for.
type budget struct {
	of   *limits
	left *rate.Limiter
}

type budgetKey struct{}

func withBudget(ctx context.Context, b *budget) context.Context {
	if b == nil {
		return ctx
	}
	return context.WithValue(ctx, budgetKey{}, b)
}

// charge takes what a refused request weighs, or all that is left.
func charge(ctx context.Context) {
	if b, _ := ctx.Value(budgetKey{}).(*budget); b != nil {
		now := time.Now()
		b.left.AllowN(now, min(refusedCost, int(b.left.TokensAt(now))))
	}
}

// spend takes a weight from what the caller of a context may ask for, and returns a *tooMuch where
// there isn't as much. What weighs more than anybody can save up takes all of that; 0 asks whether
// there is anything left.
func spend(ctx context.Context, weight int) error {
	b, _ := ctx.Value(budgetKey{}).(*budget)
	if b == nil {
		return nil
	}
	now := time.Now()
	if weight == 0 {
		if b.left.TokensAt(now) >= 1 {
			return nil
		}
		return b.tooMuch(time.Second)
	}
	taken := b.left.ReserveN(now, min(weight, b.of.burst))
	if wait := taken.DelayFrom(now); wait > 0 {
		taken.CancelAt(now)
		return b.tooMuch(wait)
	}
	return nil
}

func (b *budget) tooMuch(wait time.Duration) *tooMuch {
	b.of.refused.Inc()
	return &tooMuch{after: int(math.Ceil(wait.Seconds()))}
}

// tooMuch says that a caller asked for more than there is left, and after how many seconds there
// will be enough.
type tooMuch struct{ after int }

func (t *tooMuch) Error() string {
	return fmt.Sprintf("too many requests, or too heavy ones: there will be room for this one in %d s", t.after)
}

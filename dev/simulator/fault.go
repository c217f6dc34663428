package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Mode is a way to fail.
type Mode string

// The ways to fail.
const (
	None      Mode = "none"
	Slow      Mode = "slow"      // answers after delayMs
	Fail      Mode = "fail"      // answers with status (500), with Retry-After if retryAfter is set
	Reset     Mode = "reset"     // resets the connection instead of answering
	Drip      Mode = "drip"      // sends a byte every delayMs
	Partial   Mode = "partial"   // every second item of a list cannot be read
	Truncated Mode = "truncated" // ends the connection in the middle of the body
	Wrong     Mode = "wrong"     // answers 200 with something else altogether
	Huge      Mode = "huge"      // answers with a body of 64 MiB
	Away      Mode = "away"      // closes the connection without a word
	Lost      Mode = "lost"      // does what was asked, then resets: the caller cannot know

	Gateway    Mode = "gateway"    // a proxy answers instead, in HTML, with status (404)
	Absent     Mode = "absent"     // there is no record: lists leave it out, a call for it alone is answered 404
	Unreadable Mode = "unreadable" // levels can't be read, in the way that "as" names
)

var modes = []Mode{None, Slow, Fail, Reset, Drip, Partial, Truncated, Wrong, Huge, Away, Lost, Gateway, Absent, Unreadable}

// Fault is what happens to calls of the service; /sim/* is never touched.
type Fault struct {
	Mode       Mode     `json:"mode"`
	DelayMs    int      `json:"delayMs,omitempty"`    // slow: 2000; drip: 100
	Status     int      `json:"status,omitempty"`     // fail: 500
	RetryAfter int      `json:"retryAfter,omitempty"` // fail: seconds
	As         string   `json:"as,omitempty"`         // unreadable: negative (the default) or another of unreadables
	Rate       float64  `json:"rate,omitempty"`       // share of the calls it happens to; 0 is all
	Methods    []string `json:"methods,omitempty"`    // GET, POST; none is both
	Seconds    float64  `json:"seconds,omitempty"`    // heals by itself after this; 0 is never

	// Variants limits the fault to calls that ask for one of these, and unreadable and absent to
	// their levels; none is all.
	Variants []uuid.UUID `json:"variants,omitempty"`
}

func (f *Fault) check() error {
	if !slices.Contains(modes, f.Mode) {
		return fmt.Errorf("mode is %q: allowed are %v", f.Mode, modes)
	}
	if f.Rate < 0 || f.Rate > 1 {
		return errors.New("rate: allowed is 0 to 1")
	}
	if f.Status != 0 && (f.Status < 400 || f.Status > 599) {
		return errors.New("status: allowed is 400 to 599")
	}
	if f.DelayMs < 0 || f.RetryAfter < 0 || f.Seconds < 0 {
		return errors.New("delayMs, retryAfter and seconds: allowed is 0 and more")
	}
	if f.DelayMs == 0 {
		f.DelayMs = 2000
		if f.Mode == Drip {
			f.DelayMs = 100
		}
	}
	if f.Status == 0 {
		f.Status = http.StatusInternalServerError
		if f.Mode == Gateway {
			f.Status = http.StatusNotFound
		}
	}
	if f.As == "" && f.Mode == Unreadable {
		f.As = "negative"
	}
	if f.Mode == Unreadable && unreadables[f.As] == nil {
		return fmt.Errorf("as is %q: allowed are %v", f.As, slices.Sorted(maps.Keys(unreadables)))
	}
	for i, method := range f.Methods {
		f.Methods[i] = strings.ToUpper(method)
	}
	return nil
}

// SetFault puts a fault in force. Errors: what of it isn't allowed.
func (s *Simulator) SetFault(f Fault) error {
	if err := f.check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.healAt = f, time.Time{}
	if f.Seconds > 0 {
		s.healAt = time.Now().Add(time.Duration(f.Seconds * float64(time.Second)))
	}
	s.opts.Log.Info("simulated fault", "mode", f.Mode)
	return nil
}

// current is the fault in force; the caller holds the lock.
func (s *Simulator) current() Fault {
	if !s.healAt.IsZero() && time.Now().After(s.healAt) {
		s.fault, s.healAt = Fault{Mode: None}, time.Time{}
	}
	return s.fault
}

func (f Fault) hits(r *http.Request) bool {
	return f.Mode != None && f.about(r) && (len(f.Methods) == 0 || slices.Contains(f.Methods, r.Method)) &&
		(f.Rate == 0 || rand.Float64() < f.Rate)
}

// about says whether the request asks for one of the fault's variants.
func (f Fault) about(r *http.Request) bool {
	asked := r.PathValue("id") + "," + r.URL.Query().Get("productVariantIds")
	return len(f.Variants) == 0 || slices.ContainsFunc(f.Variants, func(id uuid.UUID) bool { return strings.Contains(asked, id.String()) })
}

// serve answers as the fault has it. do is the honest answer; faults that come before the work
// don't call it.
func (f Fault) serve(w http.ResponseWriter, r *http.Request, do func() reply) {
	delay := time.Duration(f.DelayMs) * time.Millisecond
	switch f.Mode {
	case Slow:
		if wait(r, delay) {
			send(w, do())
		}
	case Fail:
		if f.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(f.RetryAfter))
		}
		send(w, refuse(f.Status, "simulated failure"))
	case Reset:
		hangUp(w, true)
	case Away:
		hangUp(w, false)
	case Lost:
		do()
		hangUp(w, true)
	case Drip:
		drip(w, r, encode(do()), delay)
	case Truncated:
		body := encode(do())
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush() // else the half would never leave
		panic(http.ErrAbortHandler)
	case Partial:
		send(w, spoil(do()))
	case Unreadable:
		send(w, f.unreadable(do()))
	case Absent:
		send(w, f.absent(do()))
	case Gateway:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(f.Status)
		_, _ = fmt.Fprintf(w, "<html><body>%d from a proxy</body></html>", f.Status)
	case Wrong:
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html><body>It works!</body></html>"))
	case Huge:
		huge(w)
	default:
		send(w, do())
	}
}

func wait(r *http.Request, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// hangUp ends the connection, with a reset if abrupt.
func hangUp(w http.ResponseWriter, abrupt bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2 resets the stream
	}
	if tcp, ok := conn.(*net.TCPConn); ok && abrupt {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func encode(r reply) []byte {
	body, err := json.Marshal(r.body)
	if err != nil {
		return []byte("null")
	}
	return body
}

func drip(w http.ResponseWriter, r *http.Request, body []byte, delay time.Duration) {
	w.Header().Set("Content-Type", "application/json")
	flush := http.NewResponseController(w)
	for i := range body {
		if _, err := w.Write(body[i : i+1]); err != nil || flush.Flush() != nil || !wait(r, delay) {
			return
		}
	}
}

// spoil makes every second item unreadable, each in another way, and an answer about one variant always.
func spoil(r reply) reply {
	levels, isList := r.body.([]level)
	if !isList {
		return reply{r.status, map[string]any{"productVariantId": 7}}
	}
	items := make([]any, len(levels))
	for i, l := range levels {
		switch i % 4 {
		case 1:
			items[i] = map[string]any{"productVariantId": l.VariantID, "availableQuantity": "many", "status": l.Status, "updatedAt": l.UpdatedAt}
		case 3:
			items[i] = map[string]any{"productVariantId": l.VariantID, "availableQuantity": l.Available, "status": "SOMEWHERE"}
		default:
			items[i] = l
		}
	}
	return reply{r.status, items}
}

func huge(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	chunk := []byte(strings.Repeat(" ", 64<<10))
	_, _ = w.Write([]byte("["))
	for range 1024 {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
	_, _ = w.Write([]byte("]"))
}

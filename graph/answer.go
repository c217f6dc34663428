package graph

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// refuse answers a request that isn't executed.
func (p presenter) refuse(ctx context.Context, w http.ResponseWriter, media string, status int, err error) {
	w.Header().Set("Cache-Control", "no-store")
	p.write(ctx, w, media, status, p.refusal(ctx, err))
}

// write sends the response in one piece.
func (p presenter) write(ctx context.Context, w http.ResponseWriter, media string, status int, resp *graphql.Response) {
	buffer := bodies.Get().(*[]byte)
	body := p.appendTo(ctx, (*buffer)[:0], resp)
	if media == mediaEvents { // what isn't served comes as no event
		media = mediaJSON
	}
	header := w.Header()
	header.Set("Content-Type", media+"; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		p.log.DebugContext(ctx, "an answer couldn't be sent", "error", err)
	}
	if cap(body) <= maxKeptBody {
		*buffer = body
		bodies.Put(buffer)
	}
}

// bodies are buffers for answers, of which none is kept that is longer than most are.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

const maxKeptBody = 64 << 10

// encode returns a response as clients get it. One without data is of a request that wasn't
// executed: it has no data key, where an executed one that failed has a null.
func (p presenter) encode(ctx context.Context, resp *graphql.Response) []byte {
	return p.appendTo(ctx, make([]byte, 0, len(resp.Data)+64), resp)
}

// appendTo is encode into a buffer.
func (p presenter) appendTo(ctx context.Context, body []byte, resp *graphql.Response) []byte {
	body = append(body, '{')
	if len(resp.Errors) > 0 {
		body = append(append(body, `"errors":`...), p.encodeErrors(ctx, resp.Errors)...)
	}
	if resp.Data != nil {
		if len(resp.Errors) > 0 {
			body = append(body, ',')
		}
		body = append(append(body, `"data":`...), resp.Data...) // as it was encoded during the execution
	}
	return append(body, '}')
}

func (p presenter) encodeErrors(ctx context.Context, errs gqlerror.List) []byte {
	encoded, err := json.Marshal(errs)
	if err != nil {
		p.log.ErrorContext(ctx, "errors can't be encoded", "error", err)
		return []byte(`[{"message":"internal error","extensions":{"code":"INTERNAL_SERVER_ERROR"}}]`)
	}
	return encoded
}

// refusal is the response to a request that isn't executed.
func (p presenter) refusal(ctx context.Context, err error) *graphql.Response {
	return &graphql.Response{Errors: gqlerror.List{p.present(ctx, err)}}
}

// keepable tells caches how long they may use the answer of a GET, and by what to ask for it again
// (RFC 9111; RFC 9110, section 8.8). It says whether the client has it already: then it was told
// so, with 304 and the headers that the answer would have.
func keepable(w http.ResponseWriter, r *http.Request, resp *graphql.Response, lasts time.Duration) (unchanged bool) {
	sum := sha256.Sum256(resp.Data)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	header := w.Header()
	header.Set("Cache-Control", cacheControl(lasts, r.Header.Get("Authorization") != ""))
	header.Set("ETag", "W/"+tag)
	for given := range strings.SplitSeq(strings.Join(r.Header.Values("If-None-Match"), ","), ",") {
		if given = strings.TrimSpace(given); strings.TrimPrefix(given, "W/") == tag || given == "*" {
			w.WriteHeader(http.StatusNotModified)
			return true
		}
	}
	return false
}

// cacheControl is the header of an answer that holds for some time: seconds are whole there, and
// never rounded up. The answer to a request with a token is private to its caller.
func cacheControl(lasts time.Duration, token bool) string {
	scope := "public"
	if token {
		scope = "private"
	}
	if lasts < time.Second {
		return scope + ", no-cache"
	}
	return fmt.Sprintf("%s, max-age=%d", scope, lasts/time.Second)
}

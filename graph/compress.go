package graph

import (
	"compress/gzip"
	"net/http"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzhttp"
)

// worthwhile is from how many bytes on an answer is compressed.
const worthwhile = 1024

// compressed sends answers in gzip to clients that ask for it, where there is enough to gain. What
// is of a type that compression doesn't suit (events, and what is packed already) passes through
// untouched, as do sockets.
func compressed(p presenter, next http.Handler) http.Handler {
	usually, always := gzipped(next, worthwhile), gzipped(next, 1)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		zipped, plain := codings(r.Header.Values("Accept-Encoding"))
		switch {
		case r.Header.Get("Upgrade") != "":
			next.ServeHTTP(w, r)
			return
		case zipped > 0 && zipped >= plain:
			r.Header["Accept-Encoding"] = []string{"gzip"} // which is what the list came to
			if plain == 0 {
				always.ServeHTTP(w, r)
			} else {
				usually.ServeHTTP(w, r)
			}
			return
		}
		w.Header().Add("Vary", "Accept-Encoding")
		if plain == 0 {
			p.refuse(r.Context(), w, mediaJSON, http.StatusNotAcceptable, badInput("none of the encodings that the request accepts is served here; served: gzip, identity"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func gzipped(next http.Handler, from int) http.Handler {
	wrap, err := gzhttp.NewWrapper(gzhttp.MinSize(from), gzhttp.CompressionLevel(gzip.BestSpeed), gzhttp.EnableZstd(false), gzhttp.ContentTypes([]string{
		mediaJSON, mediaResponse, "text/csv", "application/x-ndjson", "text/html", "text/css", "text/javascript", "text/plain",
	}))
	if err != nil {
		panic("the options of gzip contradict each other: " + err.Error())
	}
	return wrap(next)
}

// takesGzip says whether a client would rather have gzip than a plain answer.
func takesGzip(r *http.Request) bool {
	zipped, plain := codings(r.Header.Values("Accept-Encoding"))
	return zipped > 0 && zipped >= plain
}

// codings weighs an answer in gzip and a plain one as a client does (RFC 9110, section 12.5.3): 0
// is not acceptable. A plain one is acceptable unless it is ruled out, by its name or by *, and the
// last choice unless it is given a weight.
func codings(accepted []string) (zipped, plain float64) {
	const lastChoice = 1e-6
	weights := map[string]float64{}
	for item := range strings.SplitSeq(strings.ToLower(strings.Join(accepted, ",")), ",") {
		coding, params, _ := strings.Cut(item, ";")
		weight := 1.0
		if q, given := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q="); given {
			var err error
			if weight, err = strconv.ParseFloat(q, 64); err != nil {
				continue
			}
		}
		weights[strings.TrimPrefix(strings.TrimSpace(coding), "x-")] = weight
	}
	weightOf := func(coding string, otherwise float64) float64 {
		for _, name := range []string{coding, "*"} {
			if weight, given := weights[name]; given {
				return weight
			}
		}
		return otherwise
	}
	return weightOf("gzip", 0), weightOf("identity", lastChoice)
}

package graph

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"product-service/graph/model"
	"product-service/ijson"
)

// The media types of answers.
const (
	mediaJSON     = "application/json"
	mediaResponse = "application/graphql-response+json"
)

// request is one operation as a client sent it.
type request struct {
	query         string
	documentID    string // names a trusted document, instead of the query
	persisted     string // the hash in extensions.persistedQuery, as it was given; "" where there is none
	operationName string
	variables     map[string]any // numbers as json.Number
	get           bool           // it came as a GET, and so must not change anything
	wake          func()         // to be called when a subscription has something to send; nil: it came where there is one answer
}

// readRequest reads the parameters of a GET or the body of a POST. The status says how to answer
// where it can't.
func readRequest(w http.ResponseWriter, r *http.Request, maxBody int64) (req request, status int, err error) {
	if r.Method != http.MethodPost {
		return readQuery(r.URL.RawQuery)
	}
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset := params["charset"]; err != nil || media != mediaJSON || (charset != "" && !strings.EqualFold(charset, "utf-8")) {
		return req, http.StatusUnsupportedMediaType, badInput("a POST must have the content type %s, in UTF-8", mediaJSON)
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return req, http.StatusUnsupportedMediaType, badInput("a body must not be encoded, as this one is with %q", encoding)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLarge:
		return req, http.StatusRequestEntityTooLarge, faultf(QueryTooLarge, "the body is longer than %d bytes, which is the most it can have", maxBody)
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close") // what is still to come of the body isn't the next request
		return req, http.StatusRequestTimeout, badInput("the request didn't come to its end in time; send it in one go")
	case err != nil:
		return req, http.StatusBadRequest, badInput("the body could not be read to its end")
	}
	return readBody(body)
}

func readBody(body []byte) (req request, status int, err error) {
	var fields struct {
		Query         ijson.String `json:"query"`
		DocumentID    ijson.String `json:"documentId"`
		OperationName ijson.String `json:"operationName"`
		Variables     ijson.Value  `json:"variables"`
		Extensions    ijson.Value  `json:"extensions"`
	}
	if trimmed := bytes.TrimLeft(body, "\ufeff \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		return req, http.StatusBadRequest, badInput("lists of operations are refused: send each operation in a request of its own")
	}
	if tooManyValues(body) {
		return req, http.StatusBadRequest, faultf(QueryTooLarge, "the body has more than %d JSON values, which is the most it can have", maxBodyValues)
	}
	if err := ijson.Unmarshal(body, &fields); err != nil {
		return req, http.StatusBadRequest, badInput("the body must be a JSON object with the string query and, optionally, operationName, variables and extensions; %s", err)
	}
	for _, text := range []struct {
		name  string
		given ijson.String
		into  *string
	}{{"query", fields.Query, &req.query}, {"documentId", fields.DocumentID, &req.documentID}, {"operationName", fields.OperationName, &req.operationName}} {
		if text.given.Wrong != "" {
			return req, http.StatusBadRequest, badInput("the parameter %s is %s; it must be a string", text.name, text.given.Wrong)
		}
		*text.into = text.given.Text
	}
	if req.variables, err = object("variables", fields.Variables); err != nil {
		return req, http.StatusBadRequest, err
	}
	return req.complete(fields.Extensions)
}

// maxBodyValues is how many JSON values a body can have, at all depths together. The longest list
// of rows that a mutation takes comes to less than half of it. What a body costs to decode grows
// with them far more than with its bytes.
const maxBodyValues = 2000

// tooManyValues says whether a JSON text has more than [maxBodyValues]. It only counts what begins
// or parts values outside of strings, and stops at the limit, so that a text is refused before
// anything is decoded or kept.
func tooManyValues(text []byte) bool {
	values := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[', ',':
			if values++; values > maxBodyValues {
				return true
			}
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		}
	}
	return false
}

// readQuery reads the parameters of a URL.
func readQuery(raw string) (req request, status int, err error) {
	params, err := url.ParseQuery(raw)
	if err != nil {
		return req, http.StatusBadRequest, badInput("the URL's parameters aren't encoded as they must be")
	}
	for name, values := range params {
		switch {
		case len(values) > 1:
			return req, http.StatusBadRequest, badInput("the URL has the parameter %q %d times; each may be there once", model.Abbreviate(name), len(values))
		case !utf8.ValidString(name + values[0]):
			return req, http.StatusBadRequest, badInput("the parameter %q isn't UTF-8, as it must be", model.Abbreviate(name))
		}
	}
	req = request{query: params.Get("query"), operationName: params.Get("operationName"), get: true}
	if req.variables, err = object("variables", []byte(params.Get("variables"))); err != nil {
		return req, http.StatusBadRequest, err
	}
	req.documentID = params.Get("documentId")
	return req.complete([]byte(params.Get("extensions")))
}

// complete reads the extensions and says whether the request has, or names, one document.
func (r request) complete(extensions []byte) (request, int, error) {
	given, err := object("extensions", extensions)
	if err != nil {
		return r, http.StatusBadRequest, err
	}
	if persisted := given["persistedQuery"]; persisted != nil {
		fields, _ := persisted.(map[string]any)
		version, _ := fields["version"].(json.Number)
		if r.persisted, _ = fields["sha256Hash"].(string); r.persisted == "" || version != "1" {
			return r, http.StatusBadRequest, badInput("extensions.persistedQuery must be an object with version, which is 1, and sha256Hash, a string")
		}
	}
	switch blank := strings.TrimSpace(r.query) == ""; {
	case r.documentID != "" && (!blank || r.persisted != ""):
		return r, http.StatusBadRequest, badInput("the parameter documentId names a document; it can't be given together with query or extensions.persistedQuery")
	case blank && r.documentID == "" && r.persisted == "":
		return r, http.StatusBadRequest, badInput("the parameter query is missing; it must be a GraphQL document")
	case blank:
		r.query = ""
	}
	return r, 0, nil
}

// object is a parameter that is a JSON object; absent and null are nil.
func object(name string, text []byte) (o map[string]any, err error) {
	if len(text) == 0 || string(text) == "null" {
		return nil, nil
	}
	if err := ijson.Unmarshal(text, &o); err != nil {
		return nil, badInput("the parameter %s must be a JSON object; %s", name, err)
	}
	return o, nil
}

// negotiate chooses the media type of the answer (RFC 9110, section 12.5.1). Where a client leaves
// it open it is plain JSON, which every client knows; where it accepts none, that is what the
// refusal is written in.
func negotiate(accept []string) (media string, ok bool) {
	if len(accept) == 0 {
		return mediaJSON, true
	}
	weights := weightsOf(accept)
	plain, response, events := weights.of(mediaJSON), weights.of(mediaResponse), weights.of(mediaEvents)
	_, named := weights[mediaResponse]
	switch {
	case events > max(plain, response):
		return mediaEvents, true
	case plain <= 0 && response <= 0:
		return mediaJSON, false
	case response > plain, response == plain && named:
		return mediaResponse, true
	}
	return mediaJSON, true
}

// takesEvents says whether events are among what a client accepts, although it may prefer other types.
func takesEvents(accept []string) bool {
	return len(accept) == 0 || weightsOf(accept).of(mediaEvents) > 0
}

// mediaWeights is how much a client likes media types, and patterns of them.
type mediaWeights map[string]float64

func weightsOf(accept []string) mediaWeights {
	weights := mediaWeights{}
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil || !acceptsUTF8(params["charset"]) {
			continue
		}
		weight := 1.0
		if q, has := params["q"]; has {
			if weight, err = strconv.ParseFloat(q, 64); err != nil {
				continue
			}
		}
		weights[media] = max(weights[media], weight)
	}
	return weights
}

// of is the weight of a media type: the most specific pattern decides.
func (w mediaWeights) of(media string) float64 {
	kind, _, _ := strings.Cut(media, "/")
	for _, pattern := range []string{media, kind + "/*", "*/*"} {
		if weight, has := w[pattern]; has {
			return weight
		}
	}
	return 0
}

func acceptsUTF8(charset string) bool { return charset == "" || strings.EqualFold(charset, "utf-8") }

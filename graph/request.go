package graph

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
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
}

// readRequest reads the parameters of a GET or the body of a POST. The status says how to answer where it can't.
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
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return req, http.StatusRequestEntityTooLarge, faultf(QueryTooLarge, "the body is longer than %d bytes, which is the most it can have", maxBody)
		}
		return req, http.StatusBadRequest, badInput("the body could not be read to its end")
	}
	return readBody(body)
}

func readBody(body []byte) (req request, status int, err error) {
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		return req, http.StatusBadRequest, badInput("lists of operations are refused: send each operation in a request of its own")
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil || fields == nil {
		return req, http.StatusBadRequest, badInput("the body must be a JSON object with the string query and, optionally, operationName, variables and extensions")
	}
	if req.query, err = text(fields, "query"); err != nil {
		return req, http.StatusBadRequest, err
	}
	if req.operationName, err = text(fields, "operationName"); err != nil {
		return req, http.StatusBadRequest, err
	}
	if req.variables, err = object("variables", fields["variables"]); err != nil {
		return req, http.StatusBadRequest, err
	}
	if req.documentID, err = text(fields, "documentId"); err != nil {
		return req, http.StatusBadRequest, err
	}
	return req.complete(fields["extensions"])
}

// readQuery reads the parameters of a URL.
func readQuery(raw string) (req request, status int, err error) {
	params, err := url.ParseQuery(raw)
	if err != nil {
		return req, http.StatusBadRequest, badInput("the URL's parameters aren't encoded as they must be")
	}
	for name, values := range params {
		if len(values) > 1 {
			return req, http.StatusBadRequest, badInput("the URL has the parameter %s %d times; each may be there once", strconv.Quote(name), len(values))
		}
	}
	req = request{query: params.Get("query"), operationName: params.Get("operationName"), get: true}
	if req.variables, err = object("variables", json.RawMessage(params.Get("variables"))); err != nil {
		return req, http.StatusBadRequest, err
	}
	req.documentID = params.Get("documentId")
	return req.complete(json.RawMessage(params.Get("extensions")))
}

// complete reads the extensions and says whether the request has, or names, one document.
func (r request) complete(extensions json.RawMessage) (request, int, error) {
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

// text is a string parameter; absent and null are "".
func text(fields map[string]json.RawMessage, name string) (string, error) {
	raw := fields[name]
	if len(raw) == 0 || string(raw) == "null" {
		return "", nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", badInput("the parameter %s must be a string", name)
	}
	return s, nil
}

// object is a parameter that is a JSON object; absent and null are nil.
func object(name string, raw json.RawMessage) (map[string]any, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var o map[string]any
	if err := decoder.Decode(&o); err != nil || decoder.More() {
		return nil, badInput("the parameter %s must be a JSON object", name)
	}
	return o, nil
}

// negotiate chooses the media type of the answer (RFC 9110, section 12.5.1). Where a client leaves it open it is plain JSON,
// which every client knows; where it accepts neither, that is what the refusal is written in.
func negotiate(accept []string) (media string, ok bool) {
	if len(accept) == 0 {
		return mediaJSON, true
	}
	weights := map[string]float64{}
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
	weightOf := func(media string) float64 {
		for _, pattern := range []string{media, "application/*", "*/*"} { // the most specific decides
			if weight, has := weights[pattern]; has {
				return weight
			}
		}
		return 0
	}
	plain, response := weightOf(mediaJSON), weightOf(mediaResponse)
	_, named := weights[mediaResponse]
	switch {
	case plain <= 0 && response <= 0:
		return mediaJSON, false
	case response > plain, response == plain && named:
		return mediaResponse, true
	}
	return mediaJSON, true
}

func acceptsUTF8(charset string) bool { return charset == "" || strings.EqualFold(charset, "utf-8") }

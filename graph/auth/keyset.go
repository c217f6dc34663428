package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

const minRSA = 2048 // bits (RFC 7518, section 3.3)

// keySet is one answer of the issuer. Nobody writes to it.
type keySet struct {
	keys    []key
	leftOut int // keys that no token can be verified with
}

type key struct {
	kid    string
	algs   []string // that it may be used with
	public jwt.VerificationKey
}

// parseKeySet reads a JWK Set (RFC 7517, section 5). A key that can't be used is left out; a set
// without any usable key is an error, so that the keys from before stay in use.
func parseKeySet(body []byte) (*keySet, error) {
	var published struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &published); err != nil {
		return nil, errors.New("the issuer's answer is no set of keys")
	}
	set := &keySet{}
	for _, raw := range published.Keys {
		if k, ok := parseKey(raw); ok {
			set.keys = append(set.keys, k)
		} else {
			set.leftOut++
		}
	}
	if len(set.keys) == 0 {
		return nil, errors.New("the issuer's answer has no key that a token can be verified with")
	}
	return set, nil
}

func parseKey(raw json.RawMessage) (key, bool) {
	var published jwkset.JWKMarshal
	if json.Unmarshal(raw, &published) != nil {
		return key{}, false
	}
	// Certificates say nothing that counts here: the set is as trustworthy as the address that it
	// came from.
	published.X5C, published.X5U, published.X5T, published.X5TS256 = nil, "", "", ""
	parsed, err := jwkset.NewJWKFromMarshal(published, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil || !forVerifying(published) {
		return key{}, false
	}
	k := key{kid: published.KID, public: parsed.Key(), algs: algorithmsOf(parsed.Key())}
	if alg := published.ALG.String(); alg != "" {
		k.algs = slices.DeleteFunc(k.algs, func(a string) bool { return a != alg })
	}
	return k, len(k.algs) > 0
}

// forVerifying says whether the issuer means a key for signatures (RFC 7517, sections 4.2 and 4.3).
func forVerifying(k jwkset.JWKMarshal) bool {
	return (k.USE == "" || k.USE == jwkset.UseSig) && (len(k.KEYOPS) == 0 || slices.Contains(k.KEYOPS, jwkset.KeyOpsVerify))
}

// algorithmsOf returns what a key can be used with by its own nature: a curve belongs to one
// algorithm (RFC 7518, section 3.4).
func algorithmsOf(public any) []string {
	var prefixes []string
	switch k := public.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() >= minRSA {
			prefixes = []string{"RS", "PS"}
		}
	case *ecdsa.PublicKey:
		switch k.Curve.Params().Name {
		case "P-256":
			return []string{"ES256"}
		case "P-384":
			return []string{"ES384"}
		case "P-521":
			return []string{"ES512"}
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}
	}
	var fitting []string
	for _, alg := range algorithms {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(alg, p) }) {
			fitting = append(fitting, alg)
		}
	}
	return fitting
}

func (s *keySet) knows(kid string) bool {
	return slices.ContainsFunc(s.keys, func(k key) bool { return k.kid == kid })
}

// fitting returns the keys for an algorithm: those of a kid, or of any where kid is "".
func (s *keySet) fitting(kid, alg string) []jwt.VerificationKey {
	var found []jwt.VerificationKey
	for _, k := range s.keys {
		if (kid == "" || k.kid == kid) && slices.Contains(k.algs, alg) {
			found = append(found, k.public)
		}
	}
	return found
}

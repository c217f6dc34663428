package auth

import (
	"fmt"
	"net/http"
	"strings"
)

// Refusal is why a caller isn't let in, in words that are meant for the caller. They say nothing of
// keys, and repeat nothing of a token.
type Refusal struct {
	// Status is how HTTP says it: 401 where it isn't clear who the caller is, 403 where it is.
	Status int

	// Challenge is the header WWW-Authenticate that goes with it (RFC 6750, section 3).
	Challenge string

	message string
}

func (r *Refusal) Error() string { return r.message }

const challenge = `Bearer realm="product-service"`

// refusedToken is a refusal of a token that was shown.
func refusedToken(message string) *Refusal {
	return &Refusal{Status: http.StatusUnauthorized, Challenge: challenge + `, error="invalid_token", error_description="` + message + `"`, message: message}
}

// lacking is a refusal for want of scopes. A caller who has shown no token is told of no error,
// only of what there is to show.
func lacking(anonymous bool, anyOf [][]string) *Refusal {
	sets := make([]string, len(anyOf))
	for i, set := range anyOf {
		sets[i] = strings.Join(set, " ")
	}
	scope := `, scope="` + sets[0] + `"`
	wanted := strings.Join(sets, ", or ")
	if anonymous {
		return &Refusal{Status: http.StatusUnauthorized, Challenge: challenge + scope, message: fmt.Sprintf("this needs a token with the scope %s", wanted)}
	}
	return &Refusal{
		Status: http.StatusForbidden, Challenge: challenge + `, error="insufficient_scope"` + scope, message: fmt.Sprintf("the token lacks the scope %s", wanted),
	}
}

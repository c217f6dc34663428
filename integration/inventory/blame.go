package inventory

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
)

// blame says where the fault of an attempt may lie. Everything that is decided about a failed call
// follows from it: whether the breaker counts it, whether a list is asked again in halves, and which
// variants rest.
type blame uint8

const (
	blameNobody  blame = iota // the service answered; items that can't be read are faults of their variants alone
	blameRequest              // the service answered that it doesn't take this request: for one of its variants, or for their number
	blameRefusal              // the service answered that it takes no such request from us now, whichever the variants
	blameUnclear              // no answer that can be used: one of the variants may be at fault, or the service
	blameService              // no answer, and none of the variants can be the reason
	blameOurs                 // we didn't let it come to an answer
)

var blameNames = [...]string{"nobody", "request", "refusal", "unclear", "service", "ours"}

func (b blame) String() string { return blameNames[b] }

// divisible says whether a list that failed so is worth asking for in halves.
func (b blame) divisible() bool { return b == blameRequest || b == blameUnclear }

// answered says whether the service has answered, so that it is there.
func (b blame) answered() bool { return b == blameNobody || b == blameRequest || b == blameRefusal }

// blameOf says where the fault lies. status is that of the answer, 0 for none; err says why there is no
// answer or why it can't be used, and a statusError in it stands for a status.
func blameOf(status int, err error) blame {
	if code := new(statusError); errors.As(err, code) {
		status, err = code.code, nil
	}
	if err != nil {
		return blameOfError(err)
	}
	switch {
	case status == http.StatusTooManyRequests:
		return blameRefusal
	case status == http.StatusBadRequest, status == http.StatusNotFound, status == http.StatusRequestEntityTooLarge,
		status == http.StatusRequestURITooLong, status == http.StatusRequestHeaderFieldsTooLarge, status == http.StatusUnprocessableEntity:
		return blameRequest
	case status >= http.StatusInternalServerError:
		return blameUnclear
	case status >= http.StatusBadRequest:
		return blameRefusal
	}
	return blameNobody
}

func blameOfError(err error) blame {
	var (
		network *net.OpError
		dns     *net.DNSError
		badCert *tls.CertificateVerificationError
		noCA    x509.UnknownAuthorityError
		noTLS   tls.RecordHeaderError
	)
	switch {
	case errors.Is(err, errItem):
		return blameNobody
	case errors.Is(err, context.Canceled), refusedByBreaker(err), errors.Is(err, errHeld), errors.Is(err, errShed):
		return blameOurs
	case errors.Is(err, errToken), errors.Is(err, errRedirect), errors.As(err, &badCert), errors.As(err, &noCA),
		errors.As(err, &noTLS), errors.As(err, &dns):
		return blameService
	case errors.As(err, &network) && (network.Op == "dial" || network.Op == "remote error"): // no connection, or an alert of TLS
		return blameService
	}
	return blameUnclear // time ran out, the connection ended, or the body isn't what the service promises
}

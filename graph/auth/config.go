// Package auth says who a caller is and what the caller may do: it verifies JSON Web Tokens (RFC
// 7519) that callers send as bearer tokens (RFC 6750), against the keys that their issuer publishes
// (RFC 7517).
package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// The ways in which callers prove who they are.
const (
	ModeJWT  = "jwt"
	ModeNone = "none"
)

// Config is what an operator can set.
type Config struct {
	// Issuer is what a token's iss must be, to the letter. [Config.Mode] jwt needs it.
	Issuer string `env:"AUTH_ISSUER"`

	// Audience is what a token's aud must be, or have in its list. [Config.Mode] jwt needs it.
	Audience string `env:"AUTH_AUDIENCE"`

	// JWKSURL is where the issuer publishes its keys: https, or http on loopback. [Config.Mode] jwt
	// needs it. The standard variables HTTPS_PROXY and SSL_CERT_FILE name a proxy and further
	// roots.
	JWKSURL string `env:"AUTH_JWKS_URL"`

	// Mode is how callers prove who they are: jwt, or none, which lets everybody do everything.
	Mode string `env:"AUTH_MODE" envDefault:"jwt"`
}

// Validate returns every fault of the configuration, joined.
func (c Config) Validate() error {
	switch c.Mode {
	case ModeNone:
		return nil
	case ModeJWT:
		return errors.Join(present("AUTH_ISSUER", c.Issuer, "what tokens have as iss, such as https://login.example/"),
			present("AUTH_AUDIENCE", c.Audience, "what tokens have as aud, such as https://products.example"), c.validateURL())
	}
	return fmt.Errorf("AUTH_MODE: %q is not a way to authenticate; allowed: %s (with AUTH_ISSUER, AUTH_AUDIENCE and AUTH_JWKS_URL), or %s, "+
		"which lets every caller do everything", c.Mode, ModeJWT, ModeNone)
}

func present(name, value, meant string) error {
	switch {
	case value == "":
		return fmt.Errorf("%s: AUTH_MODE=jwt needs it: %s", name, meant)
	case strings.TrimSpace(value) != value:
		return fmt.Errorf("%s: it begins or ends with a space; tokens are compared with it to the letter", name)
	}
	return nil
}

func (c Config) validateURL() error {
	const name, meant = "AUTH_JWKS_URL", "where the issuer publishes its keys, such as https://login.example/.well-known/jwks.json"
	if c.JWKSURL == "" {
		return fmt.Errorf("%s: AUTH_MODE=jwt needs it: %s", name, meant)
	}
	u, err := url.Parse(c.JWKSURL)
	switch {
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "": // the error would quote a password
		return fmt.Errorf("%s: it is no address of the web; allowed: %s", name, meant)
	case u.User != nil:
		return fmt.Errorf("%s: it has a user in it; keys are public, and are asked for without one", name)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return fmt.Errorf("%s: it is not encrypted, so that anybody on the way could put keys of their own in; allowed: https, or http on loopback", name)
	}
	return nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

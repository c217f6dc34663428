package auth

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/MicahParks/jwkset"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// taken says whether a token of now is accepted.
func taken(t *testing.T, v *Verifier, s signer) bool {
	t.Helper()
	_, err := v.Authorization(t.Context(), "Bearer "+s.token(t, claimsNow(nil), nil))
	return err == nil
}

func TestARotatedKeyIsTakenUpAtOnce(t *testing.T) {
	old, fresh := newSigner(t, "k1", "ES256"), newSigner(t, "k2", "ES256")
	synctest.Test(t, func(t *testing.T) {
		from := &issuer{keys: []jwkset.JWKMarshal{old.published(t)}}
		v, _ := newVerifier(t, from)
		run(t, v)
		if !taken(t, v, old) {
			t.Fatal("the first token isn't taken")
		}
		from.set(func(i *issuer) { i.keys = append(i.keys, fresh.published(t)) })
		if !taken(t, v, fresh) || !taken(t, v, old) {
			t.Error("the new key isn't known, or the old one isn't any more")
		}
		from.set(func(i *issuer) { i.keys = i.keys[1:] })
		time.Sleep(refreshEvery + time.Second)
		if taken(t, v, old) || !taken(t, v, fresh) {
			t.Error("a key that the issuer took back is still accepted, or the other isn't")
		}
	})
}

func TestUnknownKeysHaveTheIssuerAskedEveryThirtySeconds(t *testing.T) {
	known := newSigner(t, "k1", "ES256")
	for name, change := range map[string]func(*issuer){
		"it answers": func(*issuer) {},
		"it is away": func(i *issuer) { i.away = true },
		"it is slow": func(i *issuer) { i.delay = 4 * time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				from := &issuer{keys: []jwkset.JWKMarshal{known.published(t)}}
				v, _ := newVerifier(t, from)
				run(t, v)
				if !taken(t, v, known) {
					t.Fatal("the first token isn't taken")
				}
				from.set(func(i *issuer) { change(i); i.asked = nil })
				time.Sleep(time.Minute) // by now the issuer isn't asked for other reasons, until the refresh

				var flood sync.WaitGroup
				stop := time.Now().Add(100 * time.Second)
				for range 5 {
					token := "Bearer " + known.token(t, claimsNow(nil), claims{"kid": "nobody's"})
					flood.Go(func() {
						for time.Now().Before(stop) {
							began := time.Now()
							if _, err := v.Authorization(t.Context(), token); err == nil {
								t.Error("a token of an unknown key is taken")
							}
							if took := time.Since(began); took > unknownWait {
								t.Errorf("a token of an unknown key waited for %s", took)
							}
							began = time.Now()
							if !taken(t, v, known) || time.Since(began) > 0 {
								t.Error("a known key's token waits for the unknown ones, or isn't taken")
							}
							time.Sleep(500 * time.Millisecond)
						}
					})
				}
				flood.Wait()
				for i, at := range from.asked[1:] {
					apart := at.Sub(from.asked[i])
					if !from.away && apart < unknownEvery-fetchTimeout { // while it is away it is asked by itself as well, as often
						t.Errorf("the issuer was asked again after %s", apart)
					}
				}
				if n := from.askedTimes(); n < 4 || n > 9 {
					t.Errorf("the issuer was asked %d times in 100 s", n)
				}
			})
		})
	}
}

func TestKeysOutliveTheIssuer(t *testing.T) {
	s := newSigner(t, "k1", "ES256")
	for name, answer := range map[string]func() *http.Response{
		"it can't be reached":       nil,
		"it fails":                  func() *http.Response { return response(http.StatusInternalServerError, `{"keys":[]}`) },
		"it sends elsewhere":        func() *http.Response { return redirect("https://login.example/elsewhere") },
		"it answers with a page":    func() *http.Response { return response(http.StatusOK, "<html>") },
		"it answers with no keys":   func() *http.Response { return response(http.StatusOK, `{"keys":[]}`) },
		"it answers with nothing":   func() *http.Response { return response(http.StatusOK, "") },
		"it answers with null":      func() *http.Response { return response(http.StatusOK, "null") },
		"it answers without an end": func() *http.Response { return response(http.StatusOK, `{"keys":[`+strings.Repeat(" ", maxKeySet)) },
		"it answers with useless keys": func() *http.Response {
			return response(http.StatusOK, `{"keys":[{"kty":"oct","kid":"k1","k":"c2VjcmV0"}]}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				from := &issuer{keys: []jwkset.JWKMarshal{s.published(t)}}
				v, log := newVerifier(t, from)
				run(t, v)
				if !taken(t, v, s) {
					t.Fatal("the first token isn't taken")
				}
				from.set(func(i *issuer) { i.answer, i.away = answer, answer == nil })
				time.Sleep(2*time.Hour + time.Second) // between two times at which the issuer is asked
				if !taken(t, v, s) {
					t.Error("the keys are forgotten")
				}
				from.set(func(i *issuer) {
					i.answer, i.away = nil, false
					i.asked = nil
				})
				time.Sleep(retryMost + time.Second)
				synctest.Wait()
				if from.askedTimes() == 0 || !taken(t, v, s) {
					t.Error("the issuer isn't asked again")
				}
				if said := log.String(); !strings.Contains(said, "stay in use") || strings.Contains(said, "k1") || strings.Contains(said, "login.example") {
					t.Errorf("the log says:\n%s", said)
				}
			})
		})
	}
}

func redirect(to string) *http.Response {
	r := response(http.StatusFound, "")
	r.Header.Set("Location", to)
	return r
}

func TestStartWhileTheIssuerIsAway(t *testing.T) {
	s := newSigner(t, "k1", "ES256")
	synctest.Test(t, func(t *testing.T) {
		from := &issuer{keys: []jwkset.JWKMarshal{s.published(t)}, away: true}
		v, _ := newVerifier(t, from)
		run(t, v)
		synctest.Wait()
		_, err := v.Authorization(t.Context(), "Bearer "+s.token(t, claimsNow(nil), nil))
		refused, ok := errors.AsType[*Refusal](err)
		if !ok || refused.Status != http.StatusUnauthorized || !strings.Contains(refused.Error(), "yet") {
			t.Errorf("without keys: %v", err)
		}
		if c, err := v.Authorization(t.Context(), ""); err != nil || !c.Anonymous() {
			t.Errorf("a caller without a token: %+v, %v", c, err)
		}
		from.set(func(i *issuer) { i.away = false })
		time.Sleep(retryMost)
		synctest.Wait()
		if !taken(t, v, s) {
			t.Error("the keys aren't taken up when the issuer is back")
		}
	})
}

func TestTheFirstTokenWaitsForTheFirstKeys(t *testing.T) {
	s := newSigner(t, "k1", "ES256")
	synctest.Test(t, func(t *testing.T) {
		v, _ := newVerifier(t, &issuer{keys: []jwkset.JWKMarshal{s.published(t)}, delay: time.Second})
		run(t, v)
		if !taken(t, v, s) {
			t.Error("the first token is refused although the keys were about to come")
		}
	})
}

func TestKeysThatCanNotBeUsedAreLeftOut(t *testing.T) {
	good := newSigner(t, "good", "ES256")
	weak := signer{kid: "weak", alg: "RS256", private: mustRSA(1024)}
	s := newSigner(t, "k1", "ES256")
	wrong := newSigner(t, "k1", "RS256")
	for name, k := range map[string]struct {
		signer signer
		change func(*jwkset.JWKMarshal)
	}{
		"a weak one":                       {weak, func(*jwkset.JWKMarshal) {}},
		"one for encryption":               {s, func(k *jwkset.JWKMarshal) { k.USE = jwkset.UseEnc }},
		"one of another use":               {s, func(k *jwkset.JWKMarshal) { k.USE = "tls" }},
		"one for signing only":             {s, func(k *jwkset.JWKMarshal) { k.KEYOPS = []jwkset.KEYOPS{jwkset.KeyOpsSign} }},
		"one for another algorithm":        {s, func(k *jwkset.JWKMarshal) { k.ALG = jwkset.AlgES384 }},
		"one for an algorithm with secret": {wrong, func(k *jwkset.JWKMarshal) { k.ALG = jwkset.AlgHS256 }},
		"one for key agreement":            {s, func(k *jwkset.JWKMarshal) { k.ALG = jwkset.AlgECDHES }},
		"one off its curve":                {s, func(k *jwkset.JWKMarshal) { k.X = k.Y }},
		"one without a part":               {s, func(k *jwkset.JWKMarshal) { k.X = "" }},
		"one of an unknown kind":           {s, func(k *jwkset.JWKMarshal) { k.KTY = "AKP" }},
	} {
		t.Run(name, func(t *testing.T) {
			v := withKeys(t, k.signer.published(t, k.change), good.published(t))
			if n := len(v.keys.current.Load().keys); n != 1 {
				t.Errorf("%d keys are kept, want 1", n)
			}
			if taken(t, v, k.signer) || !taken(t, v, good) {
				t.Error("a token signed with it is taken, or the good key is left out with it")
			}
		})
	}
}

// What the set says beside the keys themselves costs no key.
func TestKeysAreTakenWithWhatIsBesideThem(t *testing.T) {
	s := newSigner(t, "k1", "ES256")
	for name, change := range map[string]func(*jwkset.JWKMarshal){
		"certificates": func(k *jwkset.JWKMarshal) {
			k.X5C, k.X5T, k.X5U = []string{"none"}, "abc", "https://login.example/cert"
		},
		"operations": func(k *jwkset.JWKMarshal) { k.KEYOPS = []jwkset.KEYOPS{jwkset.KeyOpsVerify} },
		"the private half": func(k *jwkset.JWKMarshal) {
			k.D = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"
		},
	} {
		if v := withKeys(t, s.published(t, change)); !taken(t, v, s) {
			t.Errorf("%s: the key is left out", name)
		}
	}
	twice := newSigner(t, "k1", "ES256")
	if v := withKeys(t, twice.published(t), s.published(t)); !taken(t, v, s) || !taken(t, v, twice) {
		t.Error("of two keys with one kid only one counts")
	}
}

func TestTokensAreLookedAtWhileKeysChange(t *testing.T) {
	signers := []signer{newSigner(t, "k1", "ES256"), newSigner(t, "k2", "EdDSA")}
	from := &issuer{keys: []jwkset.JWKMarshal{signers[0].published(t), signers[1].published(t)}}
	v, _ := newVerifier(t, from)
	if err := v.keys.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	run(t, v)
	var all sync.WaitGroup
	for _, s := range signers {
		for range 4 {
			all.Go(func() {
				for range 50 {
					if !taken(t, v, s) {
						t.Error("a good token is refused")
					}
				}
			})
		}
	}
	all.Go(func() {
		for range 50 {
			from.set(func(i *issuer) { slices.Reverse(i.keys) })
			if err := v.keys.fetch(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
}

func TestConfigTellsEveryFault(t *testing.T) {
	full := Config{Mode: ModeJWT, Issuer: testIssuer, Audience: testAudience, JWKSURL: "https://login.example/keys"}
	for _, x := range []struct {
		name   string
		change func(*Config)
		faults []string
	}{
		{"all there", func(*Config) {}, nil},
		{"keys on loopback", func(c *Config) { c.JWKSURL = "http://127.0.0.1:9000/keys" }, nil},
		{"keys on loopback by name", func(c *Config) { c.JWKSURL = "http://localhost/keys" }, nil},
		{"keys on loopback in IPv6", func(c *Config) { c.JWKSURL = "http://[::1]:9000/keys" }, nil},
		{"nobody is asked", func(c *Config) { *c = Config{Mode: ModeNone} }, nil},
		{"nothing is there", func(c *Config) { *c = Config{Mode: ModeJWT} }, []string{"AUTH_ISSUER: ", "AUTH_AUDIENCE: ", "AUTH_JWKS_URL: "}},
		{"another mode", func(c *Config) { c.Mode = "None" }, []string{"AUTH_MODE: "}},
		{"spaces", func(c *Config) { c.Issuer += " " }, []string{"AUTH_ISSUER: "}},
		{"keys in the open", func(c *Config) { c.JWKSURL = "http://login.example/keys" }, []string{"AUTH_JWKS_URL: "}},
		{"keys on a name that looks local", func(c *Config) { c.JWKSURL = "http://localhost.example/keys" }, []string{"AUTH_JWKS_URL: "}},
		{"keys in a file", func(c *Config) { c.JWKSURL = "file:///keys" }, []string{"AUTH_JWKS_URL: "}},
		{"keys without a host", func(c *Config) { c.JWKSURL = "https:///keys" }, []string{"AUTH_JWKS_URL: "}},
		{"keys for a user", func(c *Config) { c.JWKSURL = "https://u:hunter2@login.example/keys" }, []string{"AUTH_JWKS_URL: "}},
		{"keys at no address", func(c *Config) { c.JWKSURL = "https://u:hunter2@h:x/" }, []string{"AUTH_JWKS_URL: "}},
	} {
		c := full
		x.change(&c)
		var said []string
		if err := c.Validate(); err != nil {
			said = strings.Split(err.Error(), "\n")
		}
		if !slices.EqualFunc(said, x.faults, strings.HasPrefix) || strings.Contains(strings.Join(said, ""), "hunter2") {
			t.Errorf("%s: %q", x.name, said)
		}
	}
}

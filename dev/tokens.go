package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"product-service/dev/issuer"
)

// role is somebody whom -auth makes a token for.
type role struct {
	name   string
	scopes []string
}

var roles = []role{
	{"analyst", []string{"stock:history"}},
	{"editor", []string{"stock:history", "catalog:write"}},
	{"operator", []string{"stock:history", "catalog:write", "operations"}},
}

// tokenLife is longer than a day at work.
const tokenLife = 12 * time.Hour

func (r role) setting() string { return "TOKEN_" + strings.ToUpper(r.name) }

// startIssuer makes the server ask for tokens where -auth says so, and a token for each role. It
// returns the editor's, which is empty where nobody is asked.
func startIssuer(f flags, env *environment, started *unwinding) (editor string, err error) {
	if !f.auth {
		env.set("AUTH_MODE", "none")
		return "", nil
	}
	from, err := issuer.Start("127.0.0.1:0")
	if err != nil {
		return "", err
	}
	started.add("the issuer of tokens", from.Stop)
	env.set("AUTH_MODE", "jwt")
	env.set("AUTH_ISSUER", from.URL())
	env.set("AUTH_AUDIENCE", issuer.Audience)
	env.set("AUTH_JWKS_URL", from.KeysURL())
	for _, r := range roles {
		token, err := from.Token(r.name, tokenLife, r.scopes...)
		if err != nil {
			return "", err
		}
		env.set(r.setting(), token)
	}
	return env.get("TOKEN_EDITOR"), nil
}

// showTokens prints the tokens, and how to use one.
func showTokens(c *console, env *environment) {
	if env.get("AUTH_MODE") != "jwt" {
		return
	}
	c.linef("\nTokens, for %.0f hours; each after what it allows. In the explorer they go under Headers, as {\"Authorization\": \"Bearer …\"}.\n", tokenLife.Hours())
	for _, r := range roles {
		c.linef("# %s\n%s=%s", strings.Join(r.scopes, " "), strings.ToUpper(r.name), env.get(r.setting()))
	}
	c.linef("\n%s", historyCurl(env.get("GRAPHQL_URL")))
}

// historyCurl reads what only a token gives.
func historyCurl(url string) string {
	body, _ := json.Marshal(map[string]string{"query": "{ stockMovements(first: 3) { nodes { type quantity actor occurredAt } } }"})
	return fmt.Sprintf(`curl -s %s -H "authorization: Bearer $ANALYST" -H 'content-type: application/json' -d '%s'`, url, body)
}

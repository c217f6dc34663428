package inventory

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestConfigNamesEveryFault(t *testing.T) {
	cfg := defaults(t, "http://inventory.example")
	cfg.URL = ""
	cfg.Token, cfg.OAuthTokenURL, cfg.OAuthClientID = "hush-1", "ftp://x", "id"
	cfg.ClientCert = "/nowhere/cert.pem"
	cfg.Fresh, cfg.Retries, cfg.InitPolicy = time.Hour, 99, "hope"
	cfg.WebhookURL = "http://hooks.example/x"
	err := cfg.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, name := range []string{
		"INVENTORY_URL", "INVENTORY_TOKEN", "INVENTORY_OAUTH_TOKEN_URL", "INVENTORY_OAUTH_CLIENT_SECRET", "INVENTORY_CLIENT_CERT",
		"INVENTORY_CLIENT_KEY", "INVENTORY_FRESH", "INVENTORY_RETRIES", "INVENTORY_INIT_POLICY", "INVENTORY_WEBHOOK_SECRET",
	} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s isn't named", name)
		}
	}
	if strings.Contains(err.Error(), "hush") || strings.Contains(fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg), "hush") {
		t.Error("a secret was printed")
	}
	for url, ok := range map[string]bool{
		"https://inventory.example/v1": true, "http://127.0.0.1:1": true, "http://localhost:1": true, "http://inventory:8080": false,
		"inventory:8080": false, "https://user:pw@host": false, "https://host?x=1": false, "": false,
	} {
		c := defaults(t, "http://replaced.example")
		c.URL, c.Token = url, "hush-2"
		if err := c.Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", url, err)
		}
	}
	plain := defaults(t, "http://inventory:8080") // nothing to give away
	if err := plain.Validate(); err != nil {
		t.Error(err)
	}
}

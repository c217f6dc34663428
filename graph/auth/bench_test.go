package auth

import "testing"

func BenchmarkAuthorization(b *testing.B) {
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		b.Run(alg, func(b *testing.B) {
			s := newSigner(b, "k1", alg)
			v := withKeys(b, s.published(b))
			value := "Bearer " + s.token(b, claimsNow(nil), nil)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Authorization(b.Context(), value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

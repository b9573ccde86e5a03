// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// claims changes what the issuer signs for the first step.
func claims(change func(map[string]any)) func(*verifytest.Run) {
	return func(r *verifytest.Run) { r.Steps[0].Claims = change }
}

// bound changes what the first step's token is bound to.
func bound(object, key, value string) func(*verifytest.Run) {
	return claims(func(c map[string]any) {
		claim := c["kubernetes.io"].(map[string]any)
		if object != "" {
			claim = claim[object].(map[string]any)
		}
		claim[key] = value
	})
}

// issued moves a token in time.
func issued(offset time.Duration) func(*verifytest.Run) {
	return claims(func(c map[string]any) {
		at := verifytest.Start().Add(offset).Unix()
		c["iat"], c["nbf"], c["exp"] = at, at, at+600
	})
}

// rewrite changes the text of the first step's token after it was signed.
func rewrite(change func(string) string) func(*verifytest.Run) {
	return carriers(func(c map[string]string) { c[signing.CarrierToken] = change(c[signing.CarrierToken]) })
}

// part replaces one of the three parts of a token.
func part(n int, change func([]byte) []byte) func(*verifytest.Run) {
	return rewrite(func(token string) string {
		parts := strings.Split(token, ".")
		b, err := base64.RawURLEncoding.DecodeString(parts[n])
		if err != nil {
			panic(err) // the virtual cluster wrote it
		}
		parts[n] = base64.RawURLEncoding.EncodeToString(change(b))
		return strings.Join(parts, ".")
	})
}

// tokenAttacks are tokens that must not vouch for anything, with any binding.
func tokenAttacks() []attack {
	token, at := failed(verify.CheckToken), failed(verify.CheckTime)
	audience := func(list ...string) func(*verifytest.Run) {
		return claims(func(c map[string]any) { c["aud"] = list })
	}
	payload := signing.PayloadAudience(signing.AudiencePrefix, signing.Digest{1})
	attacks := []attack{
		{name: "token for two audiences", want: token, sign: audience(payload, payload)},
		{name: "token for another prefix", want: token, sign: audience("x" + payload)},
		{name: "token for an unknown binding", want: token, sign: audience(strings.Replace(payload, ":p:", ":q:", 1))},
		{name: "token with a longer digest", want: token, sign: audience(payload + "A")},
		{name: "token for somebody else", want: token, sign: audience("vault")},
		{name: "token for the API server", want: failed(verify.CheckCredentialLeak), sign: audience(verifytest.Issuer)},
		{
			name: "token for the API server too", want: failed(verify.CheckCredentialLeak),
			sign: audience(payload, "https://kubernetes.default.svc"),
		},
		{
			name: "token for anybody", want: failed(verify.CheckCredentialLeak),
			sign: claims(func(c map[string]any) { delete(c, "aud") }),
		},
		{name: "token of another namespace", want: token, sign: bound("", "namespace", "prod")},
		{name: "token of another account", want: token, sign: bound("serviceaccount", "name", "admin")},
		{name: "token of another pod", want: failed(verify.CheckPod), sign: bound("pod", "name", "build-pod-2")},
		{
			name: "token of another pod of that name", want: failed(verify.CheckPod),
			sign: bound("pod", "uid", "11111111-2222-4333-8444-555555555555"),
		},
		{name: "token of no pod", want: failed(verify.CheckPod), sign: claims(func(c map[string]any) {
			delete(c["kubernetes.io"].(map[string]any), "pod")
		})},
		{
			name: "token of another subject", want: token,
			sign: claims(func(c map[string]any) { c["sub"] = "system:serviceaccount:ci:admin" }),
		},
		{name: "token for an hour", want: token, sign: claims(func(c map[string]any) { c["exp"] = c["iat"].(int64) + 3600 })},
		{
			name: "token that expires before it is issued", want: token,
			sign: claims(func(c map[string]any) { c["exp"] = c["iat"].(int64) - 1 }),
		},
		{
			name: "token that is valid later", want: token,
			sign: claims(func(c map[string]any) { c["nbf"] = c["iat"].(int64) + 60 }),
		},
		{name: "token without its time", want: token, sign: claims(func(c map[string]any) { delete(c, "iat") })},
		{name: "token without its end", want: token, sign: claims(func(c map[string]any) { delete(c, "exp") })},
		{name: "token from before the TaskRun", want: at, sign: issued(-2 * time.Minute)},
		{name: "token from after the TaskRun", want: at, sign: issued(10 * time.Minute)},
		{name: "token from a little outside", want: verified(), sign: issued(3 * time.Minute)},
		{
			name: "token of another issuer", want: failed(verify.CheckKey),
			sign: claims(func(c map[string]any) { c["iss"] = "https://evil.example" }),
		},
		{
			name: "token's signature changed", want: failed(verify.CheckSignature),
			sign: part(2, func(b []byte) []byte { b[9] ^= 1; return b }),
		},
		{
			name: "token's signature cut", want: failed(verify.CheckSignature),
			sign: part(2, func(b []byte) []byte { return b[:len(b)-1] }),
		},
		{name: "token's claims changed", want: failed(verify.CheckSignature), sign: part(1, func(b []byte) []byte {
			return append(b, ' ')
		})},
		{name: "token with a member twice", want: token, sign: part(1, func(b []byte) []byte {
			return []byte(strings.Replace(string(b), "{", `{"iss":"https://evil.example",`, 1))
		})},
		{
			name: "token of two parts", want: token,
			sign: rewrite(func(t string) string { return t[:strings.LastIndexByte(t, '.')] }),
		},
		{name: "token with a line break", want: token, sign: rewrite(func(t string) string { return t + "\n" })},
		{name: "token padded", want: token, sign: rewrite(func(t string) string { return t + "==" })},
		{name: "token as JSON", want: token, sign: rewrite(func(string) string { return `{"payload":"","signatures":[]}` })},
		{name: "token too long", want: token, sign: rewrite(func(string) string { return strings.Repeat("a", 9<<10) })},
		{name: "no token", want: token, sign: rewrite(func(string) string { return "" })},
	}
	return append(attacks, tokenHeaderAttacks()...)
}

// tokenHeaderAttacks are tokens whose own header defines how to verify them.
func tokenHeaderAttacks() []attack {
	header := func(change func(map[string]any)) func(*verifytest.Run) {
		return part(0, func(b []byte) []byte {
			var h map[string]any
			if err := json.Unmarshal(b, &h); err != nil {
				panic(err) // the virtual cluster wrote it
			}
			change(h)
			data, err := json.Marshal(h)
			if err != nil {
				panic(err)
			}
			return data
		})
	}
	token := failed(verify.CheckToken)
	var attacks []attack
	for _, algorithm := range []string{"none", "None", "HS256", "PS256", "EdDSA", "ES256", ""} {
		attacks = append(attacks, attack{
			name: "token of algorithm " + algorithm, want: token, sign: header(func(h map[string]any) { h["alg"] = algorithm }),
		})
	}
	for _, name := range []string{"crit", "jwk", "jku", "x5u", "x5c", "b64"} {
		attacks = append(attacks, attack{
			name: "token with " + name, want: token, sign: header(func(h map[string]any) { h[name] = []string{"x"} }),
		})
	}
	return append(attacks,
		attack{name: "token without a key's ID", want: token, sign: header(func(h map[string]any) { delete(h, "kid") })},
		attack{name: "token of an unknown key", want: missing(verify.CheckKey),
			sign: header(func(h map[string]any) { h["kid"] = "unknown" })},
		attack{name: "token encrypted", want: token, sign: header(func(h map[string]any) { h["typ"] = "JWE" })},
	)
}

// reuseAttacks use one token for two steps.
func reuseAttacks() []attack {
	return []attack{
		{name: "one token ID twice", want: failed(verify.CheckTokenReuse), sign: func(r *verifytest.Run) {
			for i := range r.Steps {
				r.Steps[i].Claims = func(c map[string]any) { c["jti"] = "one" }
			}
		}},
	}
}

// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// tokenRequest is a request for a token in the form in which an API server passes it to a policy.
type tokenRequest struct {
	audiences      []string
	seconds        int64
	podUID, podRef string // of the requester's token, and of the pod of the new token; empty: none
	username       string
	namespace      string // of the account whose token is requested; empty: ci
	account        string // empty: builder
	group          string // of the requester, beside those that everybody has
	ungranted      bool   // the namespace has no token grant
}

// addOns returns the request of the add-on for a record, for its own pod.
func addOns(change func(*tokenRequest)) tokenRequest {
	r := podsOwn("tekton-result-signing:r:" + digest)
	r.username, r.namespace, r.account = "system:serviceaccount:tekton-sign:controller", "tekton-sign", "controller"
	if change != nil {
		change(&r)
	}
	if r.namespace != "tekton-sign" {
		r.username = "system:serviceaccount:" + r.namespace + ":controller"
	}
	return r
}

// podsOwn returns the request of a step's signer, for its own pod.
func podsOwn(audience string) tokenRequest {
	return tokenRequest{
		audiences: []string{audience}, seconds: 600, podUID: "u1", podRef: "u1", username: "system:serviceaccount:ci:builder",
	}
}

func (r tokenRequest) object() map[string]any {
	spec := map[string]any{"audiences": r.audiences, "expirationSeconds": r.seconds}
	if r.podRef != "" {
		spec["boundObjectRef"] = map[string]any{"kind": "Pod", "apiVersion": "v1", "name": "build-pod", "uid": r.podRef}
	}
	return map[string]any{"spec": spec}
}

func (r tokenRequest) request() map[string]any {
	user := map[string]any{"username": r.username, "groups": []string{"system:authenticated", r.group}}
	if r.podUID != "" {
		user["extra"] = map[string]any{
			"authentication.kubernetes.io/pod-uid":  []string{r.podUID},
			"authentication.kubernetes.io/pod-name": []string{"build-pod"},
		}
	}
	return map[string]any{
		"userInfo": user, "namespace": cmp.Or(r.namespace, "ci"), "name": cmp.Or(r.account, "builder"),
	}
}

// denial returns the message of the rule that refuses the request, empty if no rule does.
func denial(t *testing.T, p *admissionv1.ValidatingAdmissionPolicy, r tokenRequest) string {
	t.Helper()
	values := map[string]any{"object": r.object(), "request": r.request()}
	if namespace := cmp.Or(r.namespace, "ci"); !r.ungranted {
		values["authorizer"] = "/" + namespace + ":tekton-sign-any-account//serviceaccounts/token/" + namespace + "/create"
	}
	message, _ := refusal(t, p, values)
	return message
}

// policiesFor renders the policies of an installation with these settings.
func policiesFor(
	t *testing.T, change func(*settings.Settings),
) (signingTokens, requesters *admissionv1.ValidatingAdmissionPolicy) {
	t.Helper()
	o := testOptions()
	o.Settings = settings.Default()
	if change != nil {
		change(&o.Settings)
	}
	p, err := RenderPolicies(o)
	if err != nil {
		t.Fatal(err)
	}
	byName := lookup(p.Policies)
	return byName(SigningTokens), byName(TokenRequesters)
}

const digest = "LXYCzdxswsVozwy5nWjv5pjAXTtk4o9pTFVt-WWJ4Sk"

func TestSigningTokensPolicy(t *testing.T) {
	with := func(change func(*tokenRequest)) tokenRequest {
		r := podsOwn("tekton-result-signing:p:" + digest)
		change(&r)
		return r
	}
	const bound = "the audience of a signing token is "
	for name, c := range map[string]struct {
		request tokenRequest
		message string
	}{
		"payload-bound":            {podsOwn("tekton-result-signing:p:" + digest), ""},
		"key-bound":                {podsOwn("tekton-result-signing:k:" + digest), ""},
		"ordinary token of a user": {tokenRequest{audiences: []string{"vault"}, seconds: 7200, username: "jane"}, ""},

		"the add-on's form":   {podsOwn("tekton-result-signing:r:" + digest), bound},
		"of somebody's name":  {addOns(func(r *tokenRequest) { r.namespace = "ci" }), bound},
		"a record":            {addOns(nil), ""},
		"a record, unbound":   {addOns(func(r *tokenRequest) { r.podRef = "" }), "bound to a pod"},
		"in another pod":      {addOns(func(r *tokenRequest) { r.podRef = "u2" }), "only for itself"},
		"for another account": {addOns(func(r *tokenRequest) { r.account = "policy-probe" }), "its own service account"},
		"a record, an hour":   {addOns(func(r *tokenRequest) { r.seconds = 3600 }), "600 seconds or less"},
		"two records": {
			addOns(func(r *tokenRequest) { r.audiences = append(r.audiences, r.audiences[0]) }), "exactly one audience",
		},
		"fixed audience":     {podsOwn("tekton-result-signing"), bound},
		"a digest too short": {podsOwn("tekton-result-signing:p:" + digest[1:]), bound},
		"text behind":        {podsOwn("tekton-result-signing:p:" + digest + "\n"), bound},
		"text before": {
			with(func(r *tokenRequest) { r.audiences[0] = "tekton-result-signing-x:p:" + digest }), bound,
		},
		"two audiences": {
			with(func(r *tokenRequest) { r.audiences = append(r.audiences, "vault") }), "exactly one audience",
		},
		"an hour":     {with(func(r *tokenRequest) { r.seconds = 3600 }), "600 seconds or less"},
		"another pod": {with(func(r *tokenRequest) { r.podRef = "u2" }), "only for itself"},
		"no pod asks": {with(func(r *tokenRequest) { r.podUID = "" }), "only for itself"},
		"a node asks": {
			with(func(r *tokenRequest) { r.podUID, r.username = "", "system:node:n" }), "only for itself",
		},
		"bound to nothing": {with(func(r *tokenRequest) { r.podRef = "" }), "bound to a pod"},
		"another account": {
			with(func(r *tokenRequest) { r.username = "system:serviceaccount:ci:other" }), "its own service account",
		},
		"another's namespace": {
			with(func(r *tokenRequest) { r.username = "system:serviceaccount:cd:builder" }), "its own service account",
		},
		"an editor for a pod": {with(func(r *tokenRequest) { r.podUID, r.username = "", "jane" }), "only for itself"},
	} {
		policy, _ := policiesFor(t, nil)
		checkDenial(t, name, denial(t, policy, c.request), c.message)
	}
}

// Accounts in a namespace without the token grant lose no right.
func TestTokenRequestersFollowTheGrant(t *testing.T) {
	_, policy := policiesFor(t, nil)
	const refused = "with a signing audience only"
	own := tokenRequest{audiences: []string{"vault"}, seconds: 600, username: "system:serviceaccount:ci:builder"}
	ungranted, elsewhere, probe := own, own, own
	ungranted.ungranted = true
	elsewhere.username = "system:serviceaccount:vault:server"
	probe.username = "system:serviceaccount:tekton-sign:keeper"
	probe.namespace, probe.account = "tekton-sign", "policy-probe"
	probe.ungranted = true
	podProbe, almost := probe, probe
	podProbe.audiences = []string{"https://tekton-sign.dev/pod-probe"}
	almost.audiences = []string{"https://tekton-sign.dev/pod-probe", "vault"}
	for name, c := range map[string]struct {
		request tokenRequest
		message string
	}{
		"where results are signed":           {own, refused},
		"without the grant":                  {ungranted, ""},
		"an account of another namespace":    {elsewhere, ""},
		"the add-on's own namespace, always": {probe, refused},
		"the probe of pods' tokens":          {podProbe, ""},
		"and more than that":                 {almost, refused},
	} {
		checkDenial(t, name, denial(t, policy, c.request), c.message)
	}
}

// Nobody can act as a pod by a token.
func TestPodTokensPolicy(t *testing.T) {
	o := testOptions()
	o.Settings = settings.Default()
	o.Settings.Exempt = []settings.Account{{Namespace: "vault", Name: "csi"}, {Namespace: "ci", Name: "operator"}}
	policy := find[*admissionv1.ValidatingAdmissionPolicy](t, render(t, o), PodTokens)
	with := func(change func(*tokenRequest)) tokenRequest {
		r := tokenRequest{
			audiences: []string{"vault"}, seconds: 3600, podUID: "u1", podRef: "u1",
			username: "system:serviceaccount:ci:builder",
		}
		change(&r)
		return r
	}
	const refused = "for the kubelet and for that pod itself"
	for name, c := range map[string]struct {
		request tokenRequest
		message string
	}{
		"the pod itself":              {with(func(*tokenRequest) {}), ""},
		"the pod itself, for the API": {with(func(r *tokenRequest) { r.audiences = nil }), ""},
		"the kubelet": {
			with(func(r *tokenRequest) { r.podUID, r.username, r.group = "", "system:node:n", "system:nodes" }), "",
		},
		"not bound": {
			with(func(r *tokenRequest) { r.podUID, r.podRef, r.username = "", "", "jane" }), "",
		},
		"an editor": {with(func(r *tokenRequest) { r.podUID, r.username = "", "jane" }), refused},
		"an editor, for the API": {
			with(func(r *tokenRequest) { r.podUID, r.username, r.audiences = "", "jane", nil }), refused,
		},
		"a node's name without a group": {
			with(func(r *tokenRequest) { r.podUID, r.username = "", "system:node:n" }), refused,
		},
		"another pod":             {with(func(r *tokenRequest) { r.podUID = "u2" }), refused},
		"another account's token": {with(func(r *tokenRequest) { r.account = "deployer" }), refused},
		"an exempt account": {
			with(func(r *tokenRequest) { r.podUID, r.username = "", "system:serviceaccount:vault:csi" }), "",
		},
		"an exempt account of the very namespace, which every editor can be": {
			with(func(r *tokenRequest) { r.podUID, r.username = "", "system:serviceaccount:ci:operator" }), refused,
		},
		"the probe of signing tokens, which P1 refuses": {with(func(r *tokenRequest) {
			r.podUID, r.namespace, r.account = "", "tekton-sign", "policy-probe"
			r.username = "system:serviceaccount:tekton-sign:keeper"
			r.audiences = []string{"tekton-result-signing:p:" + digest}
		}), ""},
	} {
		checkDenial(t, name, denial(t, policy, c.request), c.message)
	}
}

func checkDenial(t *testing.T, name, got, want string) {
	t.Helper()
	if (got == "") != (want == "") || !strings.Contains(got, want) {
		t.Errorf("%s: refused with %q, want %q", name, got, want)
	}
}

// The audience with which anyone can sign again is admitted only where signers ask for it, and only for the pod
// itself.
func TestFixedAudience(t *testing.T) {
	for _, binding := range signing.Bindings() {
		for _, prefix := range []string{signing.AudiencePrefix, "our-results"} {
			name := fmt.Sprintf("%s with prefix %s", binding, prefix)
			signingTokens, requesters := policiesFor(t, func(s *settings.Settings) {
				s.Binding, s.Tokens.Audience = binding, prefix
			})
			want, ordinary := "", "service accounts of this namespace may request tokens with a signing audience only"
			if binding != signing.BindingAudience {
				want = "the audience of a signing token is " + prefix + ":p: or " + prefix + ":k: and a SHA-256 digest in base64url"
			}
			checkDenial(t, name, denial(t, signingTokens, podsOwn(prefix)), want)
			if want != "" {
				want = ordinary
			}
			checkDenial(t, name, denial(t, requesters, podsOwn(prefix)), want)
			checkDenial(t, name, denial(t, requesters, podsOwn("vault")), ordinary)
			checkDenial(t, name, denial(t, requesters, podsOwn(prefix+"-x")), ordinary)
			for _, bound := range []string{":p:", ":k:"} {
				checkDenial(t, name, denial(t, signingTokens, podsOwn(prefix+bound+digest)), "")
				checkDenial(t, name, denial(t, requesters, podsOwn(prefix+bound+digest)), "")
			}
			for who, r := range map[string]tokenRequest{
				"a node":    {audiences: []string{prefix}, seconds: 600, podRef: "u1", username: "system:node:n"},
				"an editor": {audiences: []string{prefix}, seconds: 600, podRef: "u1", username: "jane"},
				"another pod": {
					audiences: []string{prefix}, seconds: 600, podRef: "u1", podUID: "u2",
					username: "system:serviceaccount:ci:builder",
				},
				"two": {
					audiences: []string{prefix, prefix}, seconds: 600, podRef: "u1", podUID: "u1",
					username: "system:serviceaccount:ci:builder",
				},
			} {
				if denial(t, signingTokens, r) == "" {
					t.Errorf("%s: %s gets a token with the fixed audience", name, who)
				}
			}
		}
	}
}

func TestTokenLifetime(t *testing.T) {
	for _, lifetime := range []time.Duration{signing.MinTokenLifetime, 20 * time.Minute, signing.MaxTokenLifetime} {
		policy, _ := policiesFor(t, func(s *settings.Settings) { s.Tokens.Lifetime = lifetime })
		r := podsOwn("tekton-result-signing:p:" + digest)
		r.seconds = int64(lifetime / time.Second)
		checkDenial(t, lifetime.String(), denial(t, policy, r), "")
		r.seconds++
		checkDenial(t, lifetime.String()+" and a second", denial(t, policy, r),
			fmt.Sprintf("a signing token is asked for %d seconds or less", r.seconds-1))
	}
}

// Every text of config/ that the settings replace is there.
func TestRenderReplacesEveryText(t *testing.T) {
	p, r := policiesFor(t, nil)
	var all strings.Builder
	for _, policy := range []*admissionv1.ValidatingAdmissionPolicy{p, r} {
		for _, v := range policy.Spec.Validations {
			all.WriteString(v.Expression + "\n" + v.Message + "\n")
		}
	}
	for _, part := range []string{
		stepAudience(signing.AudiencePrefix), recordAudience(signing.AudiencePrefix), stepForms(signing.AudiencePrefix),
		signingAudience, audienceMessage, lifetimeRule, lifetimeMessage,
	} {
		if strings.Count(all.String(), part) != 1 {
			t.Errorf("the policies have %q %d times, want it once", part, strings.Count(all.String(), part))
		}
	}
}

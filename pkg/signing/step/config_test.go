// SPDX-License-Identifier: Apache-2.0

package step

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

func validConfig() Config {
	return Config{
		Namespace: "ci", TaskRun: "build", TaskRunUID: signing.UID{1}, Container: "step-build", Index: 0, Count: 2,
		Share:    3072,
		PostFile: "/tekton/run/0/out", TerminationPath: "/tekton/termination",
		Options: Options{
			Backend: signing.BackendOIDCSAToken, Format: signing.FormatV2, Binding: signing.BindingPayload,
			Tokens: signing.DefaultTokens(),
		},
		API:      APIServer{Address: "https://10.96.0.1:443", CAs: []string{strings.Repeat("0a", 32)}},
		Patience: 5 * time.Second,
	}
}

func sidecarConfig() Config {
	c := validConfig()
	c.Index, c.Values = 1, &Values{
		ResultsDir: "/tekton/results", Results: []string{"a", "-b", "c.d"},
		StepDir: "/tekton/run/1/status", StepResults: []string{"a"}, Artifacts: true,
	}
	return c
}

func TestParseReadsWhatArgsWrites(t *testing.T) {
	command := []string{"/tekton/bin/entrypoint", "-post_file", "x", "--", "-index", "--"}
	for name, change := range map[string]func(*Config){
		"plain":          func(*Config) {},
		"last":           func(c *Config) { c.Index = 1 },
		"compress":       func(c *Config) { c.Compress = true },
		"room":           func(c *Config) { c.Room = 2457 },
		"may compress":   func(c *Config) { c.Room, c.MayCompress = 3072, true },
		"required":       func(c *Config) { c.Required, c.Compress = true, true },
		"no post file":   func(c *Config) { c.PostFile = "" },
		"v1":             func(c *Config) { c.Format, c.Binding = signing.FormatV1, signing.BindingAudience },
		"earlier add-on": func(c *Config) { c.API, c.Patience = APIServer{}, 0 },
		"IPv6":           func(c *Config) { c.API.Address = "https://[fd00::1]:6443" },
		"name":           func(c *Config) { c.API.Address = "https://api.example:443" },
		"CA rotation":    func(c *Config) { c.API.CAs = append(c.API.CAs, strings.Repeat("0b", 32)) },
		"hour":           func(c *Config) { c.Tokens.Lifetime = time.Hour },
		"sidecar logs":   func(c *Config) { *c = sidecarConfig() },
		"sidecar logs without names": func(c *Config) {
			*c = sidecarConfig()
			c.Values.Results, c.Values.StepResults, c.Values.Artifacts = nil, nil, false
		},
		"SPIRE": func(c *Config) {
			c.Options = Options{
				Backend: signing.BackendSPIRE, Format: signing.FormatV2,
				SPIRE: SPIRE{TrustDomain: "example.org", Socket: "agent.sock"},
			}
		},
		"sidecar logs, not the last step": func(c *Config) {
			*c = sidecarConfig()
			c.Index, c.Values.Results, c.Values.ResultsDir = 0, nil, ""
		},
	} {
		want := validConfig()
		change(&want)
		got, gotCommand, err := Parse(want.Args(command))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: configuration differs (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(command, gotCommand); diff != "" {
			t.Errorf("%s: command differs (-want +got):\n%s", name, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	valid := strings.Join(validConfig().Args([]string{"true"}), " ")
	for name, c := range map[string]struct{ old, new string }{
		"other command":           {"run ", "walk "},
		"no command":              {"-- true", "--"},
		"no separator":            {"-- true", "true"},
		"missing flag":            {"-namespace ci ", ""},
		"empty value":             {"-namespace ci", "-namespace= "},
		"unknown flag":            {"-namespace ci", "-namespace ci -x"},
		"repeated flag":           {"-namespace ci", "-namespace ci -namespace ci"},
		"other order":             {"-namespace ci -taskrun build", "-taskrun build -namespace ci"},
		"two dashes":              {"-namespace", "--namespace"},
		"leading zero":            {"-index 0", "-index 00"},
		"index beyond count":      {"-index 0", "-index 2"},
		"index beyond a byte":     {"-count 2", "-count 256"},
		"share beyond message":    {"-share 3072", "-share 4097"},
		"no share":                {"-share 3072", "-share 0"},
		"room beyond share":       {"-- true", "-room 3073 -- true"},
		"room below nothing":      {"-- true", "-room -1 -- true"},
		"no room":                 {"-- true", "-room 0 -- true"},
		"switch that is off":      {"-- true", "-may-compress=false -- true"},
		"switches in disorder":    {"-- true", "-required -may-compress -- true"},
		"UID in upper case":       {"01000000-", "0A000000-"},
		"no UID":                  {"01000000-", "00000000-"},
		"relative path":           {"/tekton/termination", "termination"},
		"path with dots":          {"/tekton/run/0/out", "/tekton/run/../out"},
		"words before --":         {"-- true", "x -- true"},
		"unknown backend":         {"-backend oidc-sa-token", "-backend vault"},
		"no backend":              {"-backend oidc-sa-token ", ""},
		"tokens for spire":        {"-backend oidc-sa-token", "-backend spire"},
		"unknown format":          {"-format v2", "-format v3"},
		"unknown binding":         {"-binding payload", "-binding none"},
		"v1 without a key":        {"-format v2", "-format v1"},
		"no prefix":               {"-audience-prefix tekton-result-signing", "-audience-prefix="},
		"short token":             {"-token-seconds 600", "-token-seconds 599"},
		"long token":              {"-token-seconds 600", "-token-seconds 3601"},
		"seconds in words":        {"-token-seconds 600", "-token-seconds 10m"},
		"API server by HTTP":      {"https://10", "http://10"},
		"API server with a path":  {"0.1:443", "0.1:443/x"},
		"API server with a user":  {"https://10", "https://a@10"},
		"API server without port": {"0.1:443", "0.1"},
		"port of a name":          {"0.1:443", "0.1:https"},
		"port 0":                  {"0.1:443", "0.1:0"},
		"IPv6 without brackets":   {"10.96.0.1:443", "fd00::1:443"},
		"no API server":           {"-api-server https://10.96.0.1:443 ", ""},
		"no authority":            {"-api-server-ca " + strings.Repeat("0a", 32) + " ", ""},
		"short digest":            {strings.Repeat("0a", 32), strings.Repeat("0a", 31)},
		"digest in upper case":    {strings.Repeat("0a", 32), strings.Repeat("0A", 32)},
		"digest that is none":     {strings.Repeat("0a", 32), strings.Repeat("0x", 32)},
		"authority twice": {
			strings.Repeat("0a", 32), strings.Repeat("0a", 32) + " -api-server-ca " + strings.Repeat("0a", 32),
		},
		"too many authorities": {strings.Repeat("0a", 32), manyCAs()},
		"too much patience":    {"-patience-seconds 5", "-patience-seconds 301"},
		"values without mode":  {"-- true", "-step-dir /x -- true"},
	} {
		refuses(t, name, valid, c.old, c.new)
	}
}

func TestParseRefusesValues(t *testing.T) {
	valid := strings.Join(sidecarConfig().Args([]string{"true"}), " ")
	for name, c := range map[string]struct{ old, new string }{
		"v1":                       {"-format v2 -binding payload", "-format v1 -binding key"},
		"no folder":                {"-step-dir /tekton/run/1/status", ""},
		"folder with dots":         {"/tekton/run/1/status", "/tekton/run/../status"},
		"no folder of results":     {"-results-dir /tekton/results", ""},
		"results of another step":  {"-index 1", "-index 0"},
		"name with a slash":        {"a,-b", "a/b,-b"},
		"parent":                   {"a,-b", "..,-b"},
		"empty name":               {"a,-b", "a,,-b"},
		"name twice":               {"a,-b", "a,a,-b"},
		"step result with a slash": {"-step-result-names a", "-step-result-names /a"},
		"order": {
			"-sidecar-logs -step-dir /tekton/run/1/status", "-step-dir /tekton/run/1/status -sidecar-logs",
		},
		"off": {"-sidecar-logs", "-sidecar-logs=false"},
	} {
		refuses(t, name, valid, c.old, c.new)
	}
}

// manyCAs returns the flags of more authorities than a signer accepts, without the first flag.
func manyCAs() string {
	var digests []string
	for i := range maxCAs + 1 {
		digests = append(digests, fmt.Sprintf("%064x", i))
	}
	return strings.Join(digests, " -api-server-ca ")
}

func refuses(t *testing.T, name, valid, old, new string) {
	t.Helper()
	args := strings.Fields(strings.Replace(valid, old, new, 1))
	if slices.Equal(args, strings.Fields(valid)) {
		t.Fatalf("%s: the test changes nothing", name)
	}
	if got, _, err := Parse(args); err == nil {
		t.Errorf("%s: Parse(%q) = %+v, want an error", name, args, got)
	}
}

func TestValidateSPIRE(t *testing.T) {
	for name, o := range map[string]Options{
		"no trust domain": {Backend: signing.BackendSPIRE, SPIRE: SPIRE{Socket: "agent.sock"}},
		"no name":         {Backend: signing.BackendSPIRE, SPIRE: SPIRE{TrustDomain: "Example.org", Socket: "agent.sock"}},
		"no socket":       {Backend: signing.BackendSPIRE, SPIRE: SPIRE{TrustDomain: "example.org"}},
		"socket elsewhere": {
			Backend: signing.BackendSPIRE, SPIRE: SPIRE{TrustDomain: "example.org", Socket: "../agent.sock"},
		},
		"other backend": {
			Backend: signing.BackendSigstoreKeyless, SPIRE: SPIRE{TrustDomain: "example.org", Socket: "agent.sock"},
		},
	} {
		o.Format = signing.FormatV2
		if err := o.Validate(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

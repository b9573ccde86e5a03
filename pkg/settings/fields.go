// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// Kind is the kind of a setting's flag.
type Kind int

// The kinds of flags.
const (
	Text Kind = iota
	Switch
	List // repeatable, and joined by commas in the ConfigMap
	Duration
)

// Field is one setting: a key of the ConfigMap, a flag of enable, and what people read about it. The parser,
// the printer, enable, status and the help texts use the table of fields, and a test compares it with
// admission policy P7.
type Field struct {
	Key  string
	Flag string // of enable; empty for the backend, which is its argument
	Kind Kind
	Help string   // of the flag
	Name string   // in status
	Only []string // all values, if there are few; on the command line FlagOnly comes first
	// Kept means that the setting stays as it is in the cluster if the user does not name it, because its
	// default could weaken an earlier decision. All other settings return to their defaults.
	Kept bool
	// Named means that the user has to name the setting if the cluster's settings cannot be read.
	Named bool
	// Of is the only backend that the setting concerns; empty: all.
	Of signing.Backend
	// FlagOnly are values of the flag that the key does not have.
	FlagOnly []string

	access
	parseFlag func(*Settings, string) error // nil for parse
	flagValue func(Settings) string         // nil for value
	text      func(Settings) string         // for people; nil for value
}

// access reads and writes one field of Settings.
type access struct {
	parse func(*Settings, string) error // the value of the key
	value func(Settings) string         // in the form that parse reads; empty to leave the key out
	copy  func(to *Settings, from Settings)
}

// field returns the access to the field to which at points.
func field[T any](at func(*Settings) *T, parse func(string) (T, error), show func(T) string) access {
	return access{
		parse: func(s *Settings, v string) (err error) { *at(s), err = parse(v); return err },
		value: func(s Settings) string { return show(*at(&s)) },
		copy:  func(to *Settings, from Settings) { *at(to) = *at(&from) },
	}
}

// word returns the access to a field that holds the value itself.
func word[T ~string](at func(*Settings) *T, parse func(string) (T, error)) access {
	return field(at, parse, func(v T) string { return string(v) })
}

// Read sets the field of s to the value of a flag.
func (f Field) Read(s *Settings, value string) error {
	if f.parseFlag != nil {
		return f.parseFlag(s, value)
	}
	return f.parse(s, value)
}

// Copy sets the field of to to its value in from.
func (f Field) Copy(to *Settings, from Settings) { f.copy(to, from) }

// FlagValue returns the value that the flag needs for s, and whether it differs from what s would have
// without the flag.
func (f Field) FlagValue(s Settings) (value string, differs bool) {
	if f.flagValue != nil {
		return f.flagValue(s), f.differs(s)
	}
	return f.value(s), f.differs(s)
}

// Text shows the field of s to people.
func (f Field) Text(s Settings) string {
	if f.text != nil {
		return f.text(s)
	}
	return f.value(s)
}

// FlagDefault returns the default that help shows for the flag.
func (f Field) FlagDefault() string {
	if f.Kept {
		return "" // its help text contains the default
	}
	value, _ := f.FlagValue(Default())
	return value
}

// differs reports whether s holds another value than settings without this key.
func (f Field) differs(s Settings) bool {
	without := Default()
	if f.Key == KeyBinding {
		without.Binding = signing.DefaultBinding(s.Format)
	}
	return f.value(s) != f.value(without)
}

// FieldOf returns the field with a key.
func FieldOf(key string) (Field, bool) {
	fields := Fields()
	if i := slices.IndexFunc(fields, func(f Field) bool { return f.Key == key }); i >= 0 {
		return fields[i], true
	}
	return Field{}, false
}

// Keys lists our keys: those of the fields, and the alias.
func Keys() []string {
	keys := []string{KeyEnforcementAlias}
	for _, f := range Fields() {
		keys = append(keys, f.Key)
	}
	return keys
}

// FromFlags returns the settings from the flags that the user set, with defaults for all others. valueOf
// returns the value of a flag.
func FromFlags(backend signing.Backend, valueOf func(Field) (value string, ok bool)) (Settings, error) {
	s := unset()
	s.Backend = backend
	for _, f := range Fields() {
		if f.Flag == "" {
			continue
		}
		if value, ok := valueOf(f); ok {
			if err := f.Read(&s, value); err != nil {
				return Settings{}, fmt.Errorf("--%s: %w", f.Flag, err)
			}
		}
	}
	if len(s.Scope.Names) > 0 && s.Scope.Selector != "" {
		return Settings{}, fmt.Errorf("--namespaces, --namespace-selector: expected one of them, got both")
	}
	if err := s.setBinding(); err != nil {
		return Settings{}, fmt.Errorf("--format, --binding: %w", err)
	}
	return s, nil
}

func mainFields() []Field {
	return []Field{
		{
			Key: KeyBackend, Name: "backend", Only: words(signing.Backends()),
			access: word(func(s *Settings) *signing.Backend { return &s.Backend }, signing.ParseBackend),
		},
		{
			Key: KeyEnforcement, Flag: "enforcement", Name: "enforcement", Only: words([]Enforcement{Audit, Enforce}),
			Kept: true, Named: true,
			Help: "what a failed verification does: audit (record it), enforce (fail the TaskRun) " +
				"(default: as it is, at first audit)",
			access: word(func(s *Settings) *Enforcement { return &s.Enforcement }, ParseEnforcement),
		},
		{
			Key: KeyNamespaces, Flag: "namespaces", Kind: List, Name: scopeName,
			Help:      "sign in these namespaces only (comma-separated; default: all)",
			access:    field(namesAt, parseNames, joinNames),
			parseFlag: func(s *Settings, v string) (err error) { s.Scope.Names, err = orNone(v, parseNames); return err },
			text:      func(s Settings) string { return s.Scope.String() },
		},
		{
			Key: KeyNamespaceSelector, Flag: "namespace-selector", Name: scopeName,
			Help:      "sign in the namespaces with these labels, for example team=ci",
			access:    word(func(s *Settings) *string { return &s.Scope.Selector }, parseSelector),
			parseFlag: parseSelectorFlag,
			text:      func(s Settings) string { return s.Scope.String() },
		},
		{
			Key: KeyPolicies, Flag: "policies", Name: "policies", Only: words(levels()), FlagOnly: []string{policiesAuto},
			Kept: true, Named: true,
			Help: "admission policies: standard, strict, auto (strict where results are enforced) " +
				"(default: as they are, at first auto)",
			access:    word(func(s *Settings) *Policies { return &s.Policies }, ParsePolicies),
			parseFlag: parsePoliciesFlag,
			text:      func(s Settings) string { return orElse(string(s.Policies), "strict where enforced, else standard") },
		},
		{
			Key: KeyDelivery, Flag: "delivery", Name: "delivery",
			Only:   words([]Delivery{DeliveryAuto, DeliveryImage, DeliveryInit}),
			Help:   "how the signer reaches a pod: auto, image (an image volume), init (an init container)",
			access: word(func(s *Settings) *Delivery { return &s.Delivery }, ParseDelivery),
		},
	}
}

// signingFields returns the fields about evidence and what vouches for it.
func signingFields() []Field {
	return []Field{
		{
			Key: KeyFormat, Flag: "format", Name: "format", Only: words(signing.Formats()),
			Help:   "format of the evidence: v2, or v1, which signs each result and is compatible with Tekton's own signing",
			access: word(func(s *Settings) *signing.Format { return &s.Format }, signing.ParseFormat),
		},
		{
			Key: KeyMinimumFormat, Flag: "minimum-format", Name: "minimum format", Only: words(signing.Formats()), Kept: true,
			Help: "weakest format of evidence that counts: v1 or v2 " +
				"(default: as it is, at first v2 where results are enforced, else any)",
			access: word(func(s *Settings) *signing.Format { return &s.MinimumFormat }, signing.ParseFormat),
			text:   func(s Settings) string { return orElse(string(s.MinimumFormat), "v2 where enforced, else any") },
		},
		{
			Key: KeyMinimumAssurance, Flag: "minimum-assurance", Name: "minimum assurance", Only: words(signing.Assurances()),
			Kept:   true,
			Help:   "least that an identity must prove, for example receipt or key-bound (default: as it is, at first any)",
			access: word(func(s *Settings) *signing.Assurance { return &s.MinimumAssurance }, signing.ParseAssurance),
			text:   func(s Settings) string { return orElse(string(s.MinimumAssurance), "any") },
		},
		{
			Key: KeyReceipts, Flag: "receipts", Name: "receipts", Only: words([]Receipts{ReceiptsFallback, ReceiptsNever}),
			Kept: true,
			Help: "whether a receipt of the add-on covers steps that cannot sign: fallback or never " +
				"(default: as it is, at first fallback where results are audited, else never)",
			access: word(func(s *Settings) *Receipts { return &s.Receipts }, ParseReceipts),
			text:   func(s Settings) string { return orElse(string(s.Receipts), "fallback where audited, else never") },
		},
		{
			Key: KeyBinding, Flag: "binding", Name: "binding", Only: words(signing.Bindings()),
			Help: "what the token vouches for: payload (the results themselves), key (a key that signs them; default of v1), " +
				"audience (nothing: anyone who reads the token can sign with it)",
			access: word(func(s *Settings) *signing.Binding { return &s.Binding }, signing.ParseBinding),
		},
		{
			Key: KeyAudience, Flag: "audience", Name: "audience", Kept: true,
			Help: "first part of the audience of signing tokens (default: as it is, at first " +
				signing.DefaultTokens().Audience + ")",
			access: word(func(s *Settings) *string { return &s.Tokens.Audience }, parseAudience),
		},
		seconds(KeyTokenSeconds, "token-lifetime", "token lifetime", "how long a signing token is valid: 10m to 1h",
			lifetimeAt, signing.CheckLifetime),
	}
}

func namesAt(s *Settings) *[]string         { return &s.Scope.Names }
func lifetimeAt(s *Settings) *time.Duration { return &s.Tokens.Lifetime }

func joinNames(names []string) string { return strings.Join(names, ",") }

func parseAudience(value string) (string, error) { return value, CheckAudience(value) }

// parseSelectorFlag reads the value of --namespace-selector: an empty one selects all namespaces.
func parseSelectorFlag(s *Settings, value string) (err error) {
	if s.Scope.Selector = value; value != "" {
		s.Scope.Selector, err = parseSelector(value)
	}
	return err
}

// trustedFields returns the fields that name whom the policies trust in addition to Tekton, and with which
// Secrets nodes pull images.
func trustedFields() []Field {
	return []Field{
		list(KeyExemptAccounts, "exempt-service-account", "exempt accounts", "none",
			"service account (namespace/name) that may still request tokens with any audience; repeatable",
			func(s *Settings) *[]Account { return &s.Exempt }, parseAccounts, Account.String),
		list(KeyManagedBy, "managed-by", "managed by", "Tekton only",
			"value of spec.managedBy that is admitted where results are enforced, in addition to Tekton's own; repeatable",
			func(s *Settings) *[]string { return &s.ManagedBy }, parseManagers, itself),
		list(KeyCustomRuns, "custom-run-controller", "custom runs", "no controller",
			"service account (namespace/name) of a custom task's controller, which writes the status of CustomRuns; repeatable",
			func(s *Settings) *[]Account { return &s.CustomRunControllers }, parseAccounts, Account.String),
		list(KeyPullSecrets, "pull-secret", "pull secrets", "only the pods' own",
			"name of a Secret with which nodes pull the images, in the namespaces in scope and in the add-on's; repeatable",
			func(s *Settings) *[]string { return &s.PullSecrets }, parsePullSecrets, itself),
	}
}

func switches() []Field {
	return []Field{
		toggle(KeyKeepMaterial, "keep-material", "keep material",
			"leave the signing material in status.results (default: as it is, at first false: it is removed once verified)",
			func(s *Settings) *bool { return &s.KeepMaterial }),
		toggle(KeyGateChains, "gate-chains", "gate of Chains",
			"hold TaskRuns and PipelineRuns from Tekton Chains until they are verified (default: as it is, at first false)",
			func(s *Settings) *bool { return &s.GateChains }),
		toggle(KeySidecarLogs, "read-sidecar-logs", "read sidecar logs",
			"let the add-on read logs of pods, for receipts of TaskRuns whose results travel by the log of Tekton's results "+
				"sidecar (default: as it is, at first false)",
			func(s *Settings) *bool { return &s.SidecarLogs }),
	}
}

// scopeName is the name in status of the two settings for the scope, of which at most one is set.
const scopeName = "scope"

// policiesAuto is the value of --policies for PoliciesAuto.
const policiesAuto = "auto"

func parsePoliciesFlag(s *Settings, value string) (err error) {
	if value == policiesAuto {
		s.Policies = PoliciesAuto
		return nil
	}
	if s.Policies, err = ParsePolicies(value); err != nil {
		return fmt.Errorf("%w, or %s", err, policiesAuto)
	}
	return nil
}

// list returns a field with a list of names that is Kept.
func list[T any](
	key, flag, name, none, help string, at func(*Settings) *[]T, parse func(string) ([]T, error), show func(T) string,
) Field {
	join := func(all []T, separator string) string {
		parts := make([]string, len(all))
		for i, one := range all {
			parts[i] = show(one)
		}
		return strings.Join(parts, separator)
	}
	return Field{
		Key: key, Flag: flag, Kind: List, Help: help, Name: name, Kept: true,
		access:    field(at, parse, func(all []T) string { return join(all, ",") }),
		parseFlag: func(s *Settings, v string) (err error) { *at(s), err = orNone(v, parse); return err },
		text:      func(s Settings) string { return orElse(join(*at(&s), ", "), none) },
	}
}

// toggle returns a boolean field that is Kept.
func toggle(key, flag, name, help string, at func(*Settings) *bool) Field {
	return Field{
		Key: key, Flag: flag, Kind: Switch, Help: help, Name: name, Kept: true, Only: []string{"true", "false"},
		access: field(at, parseBool, strconv.FormatBool),
	}
}

// seconds returns a field with a time in whole seconds. The flag takes a duration, such as 10m.
func seconds(
	key, flag, name, help string, at func(*Settings) *time.Duration, check func(time.Duration) error,
) Field {
	checked := func(parse func(string) (time.Duration, error)) func(string) (time.Duration, error) {
		return func(value string) (time.Duration, error) {
			d, err := parse(value)
			if err != nil {
				return 0, err
			}
			return d, check(d)
		}
	}
	text := func(s Settings) string { return at(&s).String() }
	return Field{
		Key: key, Flag: flag, Kind: Duration, Name: name, Help: help,
		access: field(at, checked(parseSeconds), func(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }),
		parseFlag: func(s *Settings, v string) (err error) {
			*at(s), err = checked(time.ParseDuration)(v)
			return err
		},
		flagValue: text, text: text,
	}
}

// orNone parses the value of a flag. An empty value means no names.
func orNone[T any](value string, parse func(string) ([]T, error)) ([]T, error) {
	if value == "" {
		return nil, nil
	}
	return parse(value)
}

func orElse(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

func itself(s string) string { return s }

// words converts values to plain strings.
func words[T ~string](values []T) []string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = string(v)
	}
	return all
}

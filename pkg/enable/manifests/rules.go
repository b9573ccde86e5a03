// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// setPolicy writes into a policy what differs from the manifests: the audiences of signing tokens, the namespace of
// Tekton, the exempt accounts, and the label selector of the namespaces in scope.
func (o Options) setPolicy(p *admissionv1.ValidatingAdmissionPolicy) error {
	for _, text := range textsOf(p) {
		*text = o.rules().Replace(*text)
	}
	switch p.Name {
	case TokenRequesters:
		exempt(p, o.Settings.Exempt, "")
	case PodTokens:
		exempt(p, o.Settings.Exempt, ofThisNamespace)
	case EnforcementGuard:
		return o.guardScope(p)
	case GrantsGuard:
		return o.guardGrants(p)
	case PipelineStatus:
		return mustSet(p, "customRunControllers", listOf(usernames(o.Settings.CustomRunControllers)))
	case ManagedBy:
		return mustSet(p, "allowed", listOf(o.Settings.ManagedBy))
	}
	return nil
}

// ofThisNamespace keeps the policy in effect for accounts of the same namespace: anyone who may edit the namespace
// can act as any of them.
const ofThisNamespace = "request.userInfo.username.startsWith('system:serviceaccount:' + request.namespace + ':') || "

func usernames(accounts []settings.Account) []string {
	names := make([]string, len(accounts))
	for i, a := range accounts {
		names[i] = a.Username()
	}
	return names
}

// listOf returns an expression for a list of texts. None of them has a character that could end a string: the
// settings allow no others.
func listOf(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = "'" + text + "'"
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// textsOf returns all expressions and messages of a policy.
func textsOf(p *admissionv1.ValidatingAdmissionPolicy) []*string {
	var texts []*string
	for i := range p.Spec.MatchConditions {
		texts = append(texts, &p.Spec.MatchConditions[i].Expression)
	}
	for i := range p.Spec.Variables {
		texts = append(texts, &p.Spec.Variables[i].Expression)
	}
	for i := range p.Spec.Validations {
		v := &p.Spec.Validations[i]
		texts = append(texts, &v.Expression, &v.Message, &v.MessageExpression)
	}
	return texts
}

// Parts of the policies' expressions and messages in config/, where they have the default settings.
const (
	signingAudience = "a.startsWith('" + signing.AudiencePrefix + ":')"
	audienceMessage = " and a SHA-256 digest in base64url"
	lifetimeRule    = "object.spec.expirationSeconds <= 600"
	lifetimeMessage = "for 600 seconds or less"
)

// Parts of the policy for the settings that list backends, as in the manifests in config/.
const (
	knownBackends = "['none', 'oidc-sa-token', 'spire', 'receipt']"
	tokenBackends = "in ['oidc-sa-token']"
)

// stepPattern matches the end of the audience of a step's token.
func stepPattern() string {
	return signing.AudiencePattern(signing.AudienceKey, signing.AudiencePayload)
}

// stepAudience matches the audience of a step's token, as a string in an expression.
func stepAudience(prefix string) string { return "'^" + prefix + stepPattern() + "$'" }

// recordAudience matches the audience of a record's token, as a string in an expression.
func recordAudience(prefix string) string {
	return "'^" + prefix + signing.AudiencePattern(signing.AudienceRecord) + "$'"
}

// stepForms names the audiences of steps' tokens, for people.
func stepForms(prefix string) string {
	return signing.AudienceForm(prefix, signing.AudiencePayload, "") + " or " +
		signing.AudienceForm(prefix, signing.AudienceKey, "")
}

// backendLists returns those lists from the table of backends: those that can be turned on, and those that sign
// with tokens.
func backendLists() (enabled, tokens string) {
	var withTokens []string
	for _, d := range backends.Enabled() {
		if d.Tokens {
			withTokens = append(withTokens, string(d.Name))
		}
	}
	none := []string{string(signing.BackendNone)}
	return listOf(append(none, backends.Names(backends.Enabled())...)), "in " + listOf(withTokens)
}

// stockNamespace is the namespace of Tekton in its releases and in the manifests.
const stockNamespace = "tekton-pipelines"

// rules replaces what differs in the texts of policies. The fixed audience is admitted only where signers ask for
// it, because anyone who reads a token with that audience can sign with it. No name has a character with a meaning
// in expressions.
func (o Options) rules() *strings.Replacer {
	prefix, seconds := o.Settings.Tokens.Audience, strconv.Itoa(int(o.Settings.Tokens.Lifetime/time.Second))
	bound, all, message := stepAudience(prefix), "a.startsWith('"+prefix+":')", audienceMessage
	if o.Settings.Binding == signing.BindingAudience {
		bound = "'^" + prefix + "(" + stepPattern() + ")?$'"
		all = "(a == '" + prefix + "' || " + all + ")"
		message += ", or " + prefix + " alone"
	}
	enabled, tokens := backendLists()
	return strings.NewReplacer(
		knownBackends, enabled, tokenBackends, tokens,
		stepAudience(signing.AudiencePrefix), bound, signingAudience, all, audienceMessage, message,
		recordAudience(signing.AudiencePrefix), recordAudience(prefix), stepForms(signing.AudiencePrefix), stepForms(prefix),
		lifetimeRule, "object.spec.expirationSeconds <= "+seconds, lifetimeMessage, "for "+seconds+" seconds or less",
		signing.AudiencePrefix, prefix,
		settings.Account{Namespace: stockNamespace, Name: TektonAccount}.Username(), o.tektonAccount().Username(),
		stockNamespace, o.TektonNamespace,
	)
}

// exempt makes a policy not apply to the accounts, except where the expression confined is true.
func exempt(p *admissionv1.ValidatingAdmissionPolicy, accounts []settings.Account, confined string) {
	if len(accounts) == 0 {
		return
	}
	p.Spec.MatchConditions = append(p.Spec.MatchConditions, admissionv1.MatchCondition{
		Name:       "not-exempt",
		Expression: confined + "!(request.userInfo.username in " + listOf(usernames(accounts)) + ")",
	})
}

// Variables of the policies that depend on which namespaces the settings choose.
const (
	variableInScope    = "inScope"
	variableWasInScope = "wasInScope"
)

// guardScope makes the policy guard the labels that put a namespace in scope.
func (o Options) guardScope(p *admissionv1.ValidatingAdmissionPolicy) error {
	if o.Settings.Scope.Selector == "" {
		return nil
	}
	selector, err := metav1.ParseToLabelSelector(o.Settings.Scope.Selector)
	if err != nil {
		return fmt.Errorf("the label selector of the settings: %w", err)
	}
	for variable, labels := range map[string]string{
		variableInScope: "variables.labels", variableWasInScope: "variables.oldLabels",
	} {
		expression, err := selectorExpression(selector, labels)
		if err != nil {
			return err
		}
		if variable == variableWasInScope {
			expression = "oldObject != null && " + expression
		}
		if err := mustSet(p, variable, expression); err != nil {
			return err
		}
	}
	return nil
}

// guardGrants makes the policy for the add-on's own grants refuse grants in namespaces out of scope.
func (o Options) guardGrants(p *admissionv1.ValidatingAdmissionPolicy) error {
	switch scope := o.Settings.Scope; {
	case len(scope.Names) > 0:
		return mustSet(p, variableInScope, "request.namespace in "+listOf(scope.Names))
	case scope.Selector != "":
		selector, err := metav1.ParseToLabelSelector(scope.Selector)
		if err != nil {
			return fmt.Errorf("the label selector of the settings: %w", err)
		}
		expression, err := selectorExpression(selector, "namespaceObject.metadata.?labels.orValue({})")
		if err != nil {
			return err
		}
		return mustSet(p, variableInScope, expression)
	}
	return nil
}

// mustSet writes the expression of a variable of the policy.
func mustSet(p *admissionv1.ValidatingAdmissionPolicy, name, expression string) error {
	for i := range p.Spec.Variables {
		if p.Spec.Variables[i].Name == name {
			p.Spec.Variables[i].Expression = expression
			return nil
		}
	}
	return fmt.Errorf("manifest of policy %s has no variable %s", p.Name, name)
}

// selectorExpression returns the selector as an expression over a map of labels. Keys and values of labels have no
// quotation marks and no backslashes, so nothing in them can end a string.
func selectorExpression(selector *metav1.LabelSelector, labels string) (string, error) {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return "", fmt.Errorf("the label selector of the settings: %w", err)
	}
	requirements, selectable := parsed.Requirements()
	if !selectable {
		return "false", nil
	}
	terms := make([]string, len(requirements))
	for i, r := range requirements {
		key, values := "'"+r.Key()+"'", []string{}
		for _, v := range r.Values().List() {
			values = append(values, "'"+v+"'")
		}
		present := key + " in " + labels
		among := labels + "[" + key + "] in [" + strings.Join(values, ", ") + "]"
		switch op := r.Operator(); op {
		case selection.Exists:
			terms[i] = present
		case selection.DoesNotExist:
			terms[i] = "!(" + present + ")"
		case selection.In, selection.Equals, selection.DoubleEquals:
			terms[i] = "(" + present + " && " + among + ")"
		case selection.NotIn, selection.NotEquals:
			terms[i] = "!(" + present + " && " + among + ")"
		default:
			return "", fmt.Errorf("the label selector of the settings: operator %q is not supported", op)
		}
	}
	return "(" + strings.Join(terms, " && ") + ")", nil
}

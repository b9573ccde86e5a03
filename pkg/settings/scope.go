// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Namespace is the add-on's own namespace.
const Namespace = "tekton-sign"

// maxNames bounds the list of namespaces, because webhook configurations and policies contain it and are read
// often.
const maxNames = 1000

// Scope selects the namespaces in which results are signed: by name, by label, or all. The reserved
// namespaces are never in scope.
type Scope struct {
	Names    []string // sorted, without duplicates
	Selector string   // a label selector in kubectl's grammar
}

// Reserved returns the namespaces that are never in scope: the cluster's own, the add-on's, and Tekton's,
// where tektonNamespace is that of its controller. Injecting there could prevent the cluster from repairing
// itself.
func Reserved(tektonNamespace string) []string {
	return []string{
		metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease,
		Namespace, tektonNamespace, tektonNamespace + "-resolvers",
	}
}

// CheckReserved returns an error if the scope names a reserved namespace.
func (s Scope) CheckReserved(reserved []string) error {
	for _, name := range s.Names {
		if slices.Contains(reserved, name) {
			return fmt.Errorf("namespace %s is reserved: results are never signed there", name)
		}
	}
	return nil
}

// LabelSelector returns the scope as a selector of namespaces. Names are matched by the label
// kubernetes.io/metadata.name, which the API server sets on every namespace and which cannot be changed. An
// invalid scope selects nothing.
func (s Scope) LabelSelector(reserved []string) *metav1.LabelSelector {
	selector := &metav1.LabelSelector{}
	if s.Selector != "" {
		parsed, err := metav1.ParseToLabelSelector(s.Selector)
		if err != nil {
			return nothing(reserved) // Parse and FromFlags refuse all of these
		}
		selector = parsed
	}
	if len(s.Names) > 0 {
		nameIs(selector, metav1.LabelSelectorOpIn, slices.Clone(s.Names))
	}
	nameIs(selector, metav1.LabelSelectorOpNotIn, slices.Clone(reserved))
	return selector
}

// nameIs adds a requirement on the name of the namespace.
func nameIs(selector *metav1.LabelSelector, op metav1.LabelSelectorOperator, names []string) {
	selector.MatchExpressions = append(selector.MatchExpressions, metav1.LabelSelectorRequirement{
		Key: corev1.LabelMetadataName, Operator: op, Values: names,
	})
}

// Matcher returns a function that reports, from a namespace's labels, whether the namespace is in scope.
func (s Scope) Matcher(reserved []string) func(namespaceLabels map[string]string) bool {
	selector, err := metav1.LabelSelectorAsSelector(s.LabelSelector(reserved))
	if err != nil {
		selector = labels.Nothing()
	}
	return func(l map[string]string) bool { return selector.Matches(labels.Set(l)) }
}

// String describes the scope in words.
func (s Scope) String() string {
	switch {
	case len(s.Names) > 0:
		return "namespaces " + strings.Join(s.Names, ", ")
	case s.Selector != "":
		return "namespaces with labels " + s.Selector
	}
	return "all namespaces"
}

func parseNames(value string) ([]string, error) {
	names := strings.Split(value, ",")
	if len(names) > maxNames {
		return nil, fmt.Errorf("expected at most %d namespaces, got %d: use %s", maxNames, len(names), KeyNamespaceSelector)
	}
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
		if errs := validation.IsDNS1123Label(names[i]); len(errs) > 0 {
			return nil, fmt.Errorf("%q is not the name of a namespace: %s", names[i], errs[0])
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func parseSelector(value string) (string, error) {
	selector, err := metav1.ParseToLabelSelector(value)
	if err != nil {
		return "", fmt.Errorf("%q is not a label selector: %w", value, err)
	}
	if len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
		return "", fmt.Errorf("expected a label selector, got an empty one")
	}
	return strings.TrimSpace(value), nil
}

// Account names a service account.
type Account struct {
	Namespace, Name string
}

// Username returns the user name of the account for the API server.
func (a Account) Username() string { return "system:serviceaccount:" + a.Namespace + ":" + a.Name }

func (a Account) String() string { return a.Namespace + "/" + a.Name }

// ParseAccount reads the form namespace/name.
func ParseAccount(value string) (Account, error) {
	namespace, name, ok := strings.Cut(strings.TrimSpace(value), "/")
	if !ok || len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return Account{}, fmt.Errorf("expected namespace/name of a service account, got %q", value)
	}
	return Account{Namespace: namespace, Name: name}, nil
}

// ParseManager reads a value of spec.managedBy, the name of a controller in the form of a qualified name such as
// example.com/controller.
func ParseManager(value string) (string, error) {
	value = strings.TrimSpace(value)
	if errs := validation.IsQualifiedName(value); len(errs) > 0 {
		return "", fmt.Errorf("expected a value of spec.managedBy such as example.com/controller, got %q: %s", value, errs[0])
	}
	return value, nil
}

func parseManagers(value string) ([]string, error) { return parseEach(value, ParseManager) }

// maxPullSecrets bounds the number of names, because each pod gets them all.
const maxPullSecrets = 8

// ParsePullSecret reads the name of a Secret.
func ParsePullSecret(value string) (string, error) {
	value = strings.TrimSpace(value)
	if errs := validation.IsDNS1123Subdomain(value); len(errs) > 0 {
		return "", fmt.Errorf("expected the name of a Secret, got %q: %s", value, errs[0])
	}
	return value, nil
}

func parsePullSecrets(value string) ([]string, error) {
	names, err := parseEach(value, ParsePullSecret)
	if err != nil {
		return nil, err
	}
	if len(names) > maxPullSecrets {
		return nil, fmt.Errorf("expected at most %d Secrets, got %d", maxPullSecrets, len(names))
	}
	return names, nil
}

func parseAccounts(value string) ([]Account, error) { return parseEach(value, ParseAccount) }

// parseEach reads a list of values joined by commas.
func parseEach[T any](value string, parse func(string) (T, error)) ([]T, error) {
	var all []T
	for part := range strings.SplitSeq(value, ",") {
		one, err := parse(part)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

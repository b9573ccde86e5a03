// SPDX-License-Identifier: Apache-2.0

// Package manifests renders what an installation of tekton-sign consists of: the manifests in config/, with what varies
// set on the decoded objects.
package manifests

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tekton-sign/kubectl-tekton-sign/config"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// DefaultRegistry is where the images are published.
const DefaultRegistry = "ghcr.io/tekton-sign"

// Options are what differs between installations.
type Options struct {
	TektonNamespace string // where Tekton's controller runs
	Registry        string // prefix of the images, without a trailing slash
	Version         string // tag of the images
	Settings        settings.Settings
}

// ControllerImage returns the reference of the add-on's image.
func (o Options) ControllerImage() string { return o.Registry + "/controller:" + o.Version }

// SignerImage returns the reference of the signer's image.
func (o Options) SignerImage() string { return o.Registry + "/signer:" + o.Version }

// Render returns the objects of an installation in the order in which they are to be applied.
func Render(o Options) ([]runtime.Object, error) {
	objects, err := config.Objects()
	if err != nil {
		return nil, err
	}
	for _, object := range objects {
		if err := o.set(object); err != nil {
			return nil, err
		}
	}
	return objects, nil
}

// set writes into object what the options say.
func (o Options) set(object runtime.Object) error {
	switch obj := object.(type) {
	case *rbacv1.Role:
		o.moveToTekton(&obj.ObjectMeta)
	case *rbacv1.RoleBinding:
		o.moveToTekton(&obj.ObjectMeta)
	case *corev1.ConfigMap:
		o.moveToTekton(&obj.ObjectMeta)
		obj.Data = o.Settings.Data()
	case *appsv1.Deployment:
		return o.setDeployment(obj)
	case *admissionv1.ValidatingAdmissionPolicy:
		o.setPolicy(obj)
	case *rbacv1.ClusterRole:
		if obj.Name == ChainsGate && !o.Settings.GateChains {
			obj.Rules = nil
		}
	case *admissionv1.ValidatingAdmissionPolicyBinding:
		if obj.Name == ChainsGate {
			obj.Spec.MatchResources.NamespaceSelector = o.Settings.GateSelector(settings.Reserved(o.TektonNamespace))
		}
		if obj.Name == TokenRequesters {
			obj.Spec.MatchResources.NamespaceSelector = o.scope()
		}
	case *admissionv1.MutatingWebhookConfiguration:
		return o.setWebhooks(obj)
	}
	return nil
}

// scope returns the selector of the namespaces in scope.
func (o Options) scope() *metav1.LabelSelector {
	return o.Settings.Scope.LabelSelector(settings.Reserved(o.TektonNamespace))
}

// moveToTekton gives objects that the manifests place beside Tekton its real namespace.
func (o Options) moveToTekton(m *metav1.ObjectMeta) {
	if m.Namespace != Namespace {
		m.Namespace = o.TektonNamespace
	}
}

func (o Options) setDeployment(d *appsv1.Deployment) error {
	d.Labels[LabelVersion] = o.Version
	for i := range d.Spec.Template.Spec.Containers {
		c := &d.Spec.Template.Spec.Containers[i]
		c.Image = o.ControllerImage()
		for name, value := range map[string]string{
			EnvTektonNamespace: o.TektonNamespace, EnvSignerImage: o.SignerImage(),
		} {
			if !setEnv(c, name, value) {
				return fmt.Errorf("manifest of the add-on: container %s has no variable %s", c.Name, name)
			}
		}
	}
	return nil
}

func setEnv(c *corev1.Container, name, value string) bool {
	for i := range c.Env {
		if c.Env[i].Name == name {
			c.Env[i].Value = value
			return true
		}
	}
	return false
}

// setPolicy writes into a policy what signing tokens of this installation look like, and the exempt accounts into the policy
// that knows them.
func (o Options) setPolicy(p *admissionv1.ValidatingAdmissionPolicy) {
	r := o.tokenRules()
	for i := range p.Spec.MatchConditions {
		c := &p.Spec.MatchConditions[i]
		c.Expression = r.Replace(c.Expression)
	}
	for i := range p.Spec.Validations {
		v := &p.Spec.Validations[i]
		v.Expression, v.Message, v.MessageExpression = r.Replace(v.Expression), r.Replace(v.Message), r.Replace(v.MessageExpression)
	}
	if p.Name == TokenRequesters && len(o.Settings.Exempt) > 0 {
		p.Spec.MatchConditions = append(p.Spec.MatchConditions, exemptCondition(o.Settings.Exempt))
	}
}

// Parts of the policies' expressions and messages in config/, where they stand for the default settings.
const (
	boundAudience   = "'^" + signing.AudiencePrefix + ":[kp]:[A-Za-z0-9_-]{43}$'"
	signingAudience = "a.startsWith('" + signing.AudiencePrefix + ":')"
	audienceMessage = " and a SHA-256 digest in base64url"
	lifetimeRule    = "object.spec.expirationSeconds <= 600"
	lifetimeMessage = "for 600 seconds or less"
)

// tokenRules replaces in the policies' texts what the settings say otherwise. The fixed audience is admitted only where signers
// ask for it, since whoever reads a token with it can sign again. The prefix has no character that means anything in an expression.
func (o Options) tokenRules() *strings.Replacer {
	prefix, seconds := o.Settings.AudiencePrefix, strconv.Itoa(int(o.Settings.TokenLifetime/time.Second))
	bound, all, message := "'^"+prefix+":[kp]:[A-Za-z0-9_-]{43}$'", "a.startsWith('"+prefix+":')", audienceMessage
	if o.Settings.Binding == signing.BindingAudience {
		bound = "'^" + prefix + "(:[kp]:[A-Za-z0-9_-]{43})?$'"
		all = "(a == '" + prefix + "' || " + all + ")"
		message += ", or " + prefix + " alone"
	}
	return strings.NewReplacer(
		boundAudience, bound, signingAudience, all, audienceMessage, message,
		lifetimeRule, "object.spec.expirationSeconds <= "+seconds, lifetimeMessage, "for "+seconds+" seconds or less",
		signing.AudiencePrefix, prefix,
	)
}

// exemptCondition keeps the policy away from the given accounts. Their names are valid names of Kubernetes objects, so that
// nothing in them can end the string.
func exemptCondition(accounts []settings.Account) admissionv1.MatchCondition {
	names := make([]string, len(accounts))
	for i, a := range accounts {
		names[i] = "'" + a.Username() + "'"
	}
	return admissionv1.MatchCondition{
		Name:       "not-exempt",
		Expression: "!(request.userInfo.username in [" + strings.Join(names, ", ") + "])",
	}
}

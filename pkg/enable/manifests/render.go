// SPDX-License-Identifier: Apache-2.0

// Package manifests renders the objects of an installation of tekton-sign: it decodes the manifests in config/ and
// sets what differs between installations.
package manifests

import (
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tekton-sign/kubectl-tekton-sign/config"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
)

// DefaultRegistry is where the images are published.
const DefaultRegistry = "ghcr.io/tekton-sign"

// Options are what differs between installations.
type Options struct {
	TektonNamespace string // where Tekton's controller runs
	TektonAccount   string // the service account of Tekton's controller; empty: TektonAccount
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
	objects = slices.DeleteFunc(objects, o.unneeded)
	for _, object := range objects {
		if err := o.set(object); err != nil {
			return nil, err
		}
	}
	wanted, _, err := o.registrations()
	return append(objects, wanted...), err
}

// registrations returns the objects of other controllers by which TaskRuns are registered, and those that the settings
// do not ask for.
func (o Options) registrations() (wanted, unneeded []runtime.Object, err error) {
	namespaces := o.Settings.Scope.LabelSelector(settings.Reserved(o.TektonNamespace))
	wanted, unneeded, err = backends.Objects(o.Settings, namespaces)
	for _, object := range wanted {
		if m, ok := object.(metav1.Object); ok {
			m.SetLabels(map[string]string{"app.kubernetes.io/name": m.GetName(), LabelPartOf: PartOf})
		}
	}
	return wanted, unneeded, err
}

// unneeded reports whether the backend does not need an object: the webhook that injects pods, or the role that
// grants tokens.
func (o Options) unneeded(object runtime.Object) bool {
	switch obj := object.(type) {
	case *admissionv1.MutatingWebhookConfiguration:
		return !needs(o.Settings.Backend, obj.Name)
	case *rbacv1.ClusterRole:
		return !needs(o.Settings.Backend, obj.Name)
	}
	return false
}

// Unneeded returns the objects that the backend of the settings does not need and another one does.
func Unneeded(o Options) ([]runtime.Object, error) {
	objects, err := config.Objects()
	if err != nil {
		return nil, err
	}
	objects = slices.DeleteFunc(objects, func(object runtime.Object) bool { return !o.unneeded(object) })
	_, unneeded, err := o.registrations()
	return append(objects, unneeded...), err
}

// set writes the options into an object.
func (o Options) set(object runtime.Object) error {
	switch obj := object.(type) {
	case *rbacv1.Role:
		o.moveToTekton(&obj.ObjectMeta)
	case *rbacv1.RoleBinding:
		o.moveToTekton(&obj.ObjectMeta)
	case *corev1.ConfigMap:
		o.moveToTekton(&obj.ObjectMeta)
		if obj.Name == settings.ConfigMapName {
			obj.Data = o.Settings.Data()
		}
	case *appsv1.Deployment:
		return o.setDeployment(obj)
	case *admissionv1.ValidatingAdmissionPolicy:
		return o.setPolicy(obj)
	case *rbacv1.ClusterRole:
		o.setRole(obj)
	case *admissionv1.ValidatingAdmissionPolicyBinding:
		o.setBinding(obj)
	case *admissionv1.MutatingWebhookConfiguration:
		return o.setWebhooks(obj)
	}
	return nil
}

// setRole writes the rules of a role that depend on the settings.
func (o Options) setRole(role *rbacv1.ClusterRole) {
	switch {
	case role.Name == ChainsGate && !o.Settings.GateChains:
		role.Rules = nil
	case role.Name == SidecarLogs && o.Settings.SidecarLogs:
		role.Rules = []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods/log"}, Verbs: []string{"get"}}}
	case role.Name == VolumeMounts && len(backends.Of(o.Settings.Backend).Drivers()) > 0:
		role.Rules = []rbacv1.PolicyRule{
			{APIGroups: []string{storagev1.GroupName}, Resources: []string{"csinodes"}, Verbs: []string{"get"}},
			{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"list"}},
		}
	}
}

// tektonAccount returns the service account of Tekton's controller.
func (o Options) tektonAccount() settings.Account {
	name := o.TektonAccount
	if name == "" {
		name = TektonAccount
	}
	return settings.Account{Namespace: o.TektonNamespace, Name: name}
}

// moveToTekton sets the namespace of objects that belong beside Tekton.
func (o Options) moveToTekton(m *metav1.ObjectMeta) {
	if m.Namespace != Namespace {
		m.Namespace = o.TektonNamespace
	}
}

func (o Options) setDeployment(d *appsv1.Deployment) error {
	d.Labels[LabelVersion] = o.Version
	for _, name := range o.Settings.PullSecrets {
		d.Spec.Template.Spec.ImagePullSecrets = append(d.Spec.Template.Spec.ImagePullSecrets,
			corev1.LocalObjectReference{Name: name})
	}
	if d.Name == Controller {
		mount(&d.Spec.Template.Spec, backends.Of(o.Settings.Backend).AddOnVolumes)
	}
	for i := range d.Spec.Template.Spec.Containers {
		c := &d.Spec.Template.Spec.Containers[i]
		c.Image = o.ControllerImage()
		variables := map[string]string{
			EnvTektonNamespace: o.TektonNamespace, EnvTektonAccount: o.tektonAccount().Name, EnvSignerImage: o.SignerImage(),
		}
		for name, value := range variables {
			if !setEnv(c, name, value) {
				return fmt.Errorf("manifest of the add-on: container %s has no variable %s", c.Name, name)
			}
		}
	}
	return nil
}

// mount adds the volumes that a backend needs to all containers.
func mount(pod *corev1.PodSpec, volumes []cluster.Volume) {
	for _, v := range volumes {
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: v.Name, VolumeSource: v.Source})
		for i := range pod.Containers {
			pod.Containers[i].VolumeMounts = append(pod.Containers[i].VolumeMounts,
				corev1.VolumeMount{Name: v.Name, MountPath: v.Path, ReadOnly: true})
		}
	}
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

// SPDX-License-Identifier: Apache-2.0

// Package kubeclient is the Kubernetes client of the plugin. The clientset of client-go links the clients of
// all API groups, with their builders and watches. That is many megabytes, of which the plugin needs seven
// groups.
package kubeclient

import (
	"errors"
	"net/http"

	"k8s.io/client-go/discovery"
	admissionregistrationv1 "k8s.io/client-go/kubernetes/typed/admissionregistration/v1"
	appsv1 "k8s.io/client-go/kubernetes/typed/apps/v1"
	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	rbacv1 "k8s.io/client-go/kubernetes/typed/rbac/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
)

// Interface is the part of client-go's kubernetes.Interface that the plugin uses.
type Interface interface {
	Discovery() discovery.DiscoveryInterface
	AdmissionregistrationV1() admissionregistrationv1.AdmissionregistrationV1Interface
	AppsV1() appsv1.AppsV1Interface
	AuthenticationV1() authenticationv1.AuthenticationV1Interface
	AuthorizationV1() authorizationv1.AuthorizationV1Interface
	CoordinationV1() coordinationv1.CoordinationV1Interface
	CoreV1() corev1.CoreV1Interface
	RbacV1() rbacv1.RbacV1Interface
}

type client struct {
	discovery      *discovery.DiscoveryClient
	admission      *admissionregistrationv1.AdmissionregistrationV1Client
	apps           *appsv1.AppsV1Client
	authentication *authenticationv1.AuthenticationV1Client
	authorization  *authorizationv1.AuthorizationV1Client
	coordination   *coordinationv1.CoordinationV1Client
	core           *corev1.CoreV1Client
	rbac           *rbacv1.RbacV1Client
}

func (c client) Discovery() discovery.DiscoveryInterface { return c.discovery }
func (c client) AdmissionregistrationV1() admissionregistrationv1.AdmissionregistrationV1Interface {
	return c.admission
}
func (c client) AppsV1() appsv1.AppsV1Interface { return c.apps }
func (c client) AuthenticationV1() authenticationv1.AuthenticationV1Interface {
	return c.authentication
}
func (c client) AuthorizationV1() authorizationv1.AuthorizationV1Interface { return c.authorization }
func (c client) CoordinationV1() coordinationv1.CoordinationV1Interface    { return c.coordination }
func (c client) CoreV1() corev1.CoreV1Interface                            { return c.core }
func (c client) RbacV1() rbacv1.RbacV1Interface                            { return c.rbac }

// New returns a client. All groups share its connections and its rate limit.
func New(config *rest.Config) (Interface, error) {
	b, err := newBuilder(*config)
	if err != nil {
		return nil, err
	}
	c := client{
		discovery:      build(b, discovery.NewDiscoveryClientForConfigAndClient),
		admission:      build(b, admissionregistrationv1.NewForConfigAndClient),
		apps:           build(b, appsv1.NewForConfigAndClient),
		authentication: build(b, authenticationv1.NewForConfigAndClient),
		authorization:  build(b, authorizationv1.NewForConfigAndClient),
		coordination:   build(b, coordinationv1.NewForConfigAndClient),
		core:           build(b, corev1.NewForConfigAndClient),
		rbac:           build(b, rbacv1.NewForConfigAndClient),
	}
	if len(b.errs) > 0 {
		return nil, errors.Join(b.errs...)
	}
	return c, nil
}

// builder builds the clients of groups, and collects the errors.
type builder struct {
	config rest.Config
	http   *http.Client
	errs   []error
}

func newBuilder(config rest.Config) (*builder, error) {
	if config.UserAgent == "" {
		config.UserAgent = rest.DefaultKubernetesUserAgent()
	}
	if config.RateLimiter == nil && config.QPS > 0 {
		if config.Burst <= 0 {
			return nil, errors.New("expected a burst above zero with a limit of requests a second")
		}
		config.RateLimiter = flowcontrol.NewTokenBucketRateLimiter(config.QPS, config.Burst)
	}
	client, err := rest.HTTPClientFor(&config)
	return &builder{config: config, http: client}, err
}

func build[T any](b *builder, of func(*rest.Config, *http.Client) (*T, error)) *T {
	group, err := of(&b.config, b.http)
	if err != nil {
		b.errs = append(b.errs, err)
	}
	return group
}

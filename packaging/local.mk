# SPDX-License-Identifier: GPL-2.0-or-later
PACKAGING_IN = packaging/farside-backend.service.in \
	packaging/farside-netproxy.service.in \
	packaging/farside-metrics.service.in
PACKAGING_UNITS = packaging/farside-backend.service \
	packaging/farside-netproxy.service packaging/farside-metrics.service

EXTRA_DIST += $(PACKAGING_IN) packaging/deps packaging/install-deps \
	packaging/xen-parts packaging/cross-arm64 \
	packaging/farside.sysusers \
	packaging/farside.tmpfiles packaging/70-farside.rules \
	packaging/farside.conf.sample

CLEANFILES += $(PACKAGING_UNITS)

make_unit = $(AM_V_GEN)$(MKDIR_P) packaging && \
	$(SED) -e 's|@sbindir[@]|$(sbindir)|g' \
	-e 's|@bindir[@]|$(bindir)|g' $(srcdir)/$@.in >$@.tmp && \
	mv $@.tmp $@
packaging/farside-backend.service: packaging/farside-backend.service.in Makefile
	$(make_unit)
packaging/farside-netproxy.service: packaging/farside-netproxy.service.in Makefile
	$(make_unit)

packaging/farside-metrics.service: packaging/farside-metrics.service.in Makefile
	$(make_unit)

# Where libxl looks for the scripts of disk lines.
xenscriptsdir = $(sysconfdir)/xen/scripts
dist_xenscripts_SCRIPTS = packaging/block-farside

farsideconfdir = $(sysconfdir)/farside
exampledir = $(docdir)/examples
dist_example_DATA = packaging/farside.conf.sample

if SYSTEMD
systemdsystemunit_DATA = $(PACKAGING_UNITS)
sysusersdir = $(prefix)/lib/sysusers.d
tmpfilesdir = $(prefix)/lib/tmpfiles.d
udevrulesdir = $(prefix)/lib/udev/rules.d

# The names that systemd wants are not those that tell people what they are.
install-data-local:
	$(MKDIR_P) "$(DESTDIR)$(sysusersdir)" "$(DESTDIR)$(tmpfilesdir)" \
		"$(DESTDIR)$(udevrulesdir)"
	$(INSTALL_DATA) $(srcdir)/packaging/farside.sysusers \
		"$(DESTDIR)$(sysusersdir)/farside.conf"
	$(INSTALL_DATA) $(srcdir)/packaging/farside.tmpfiles \
		"$(DESTDIR)$(tmpfilesdir)/farside.conf"
	$(INSTALL_DATA) $(srcdir)/packaging/70-farside.rules \
		"$(DESTDIR)$(udevrulesdir)/70-farside.rules"

uninstall-local:
	rm -f "$(DESTDIR)$(sysusersdir)/farside.conf" \
		"$(DESTDIR)$(tmpfilesdir)/farside.conf" \
		"$(DESTDIR)$(udevrulesdir)/70-farside.rules"
endif

# A farside.conf that somebody has written is never touched; a first one is
# put there to be filled in.
install-data-hook:
	$(MKDIR_P) "$(DESTDIR)$(farsideconfdir)"
	test -e "$(DESTDIR)$(farsideconfdir)/farside.conf" || \
		$(INSTALL) -m 640 $(srcdir)/packaging/farside.conf.sample \
			"$(DESTDIR)$(farsideconfdir)/farside.conf"

# It goes again only if nobody has changed it.
uninstall-hook:
	if cmp -s $(srcdir)/packaging/farside.conf.sample \
		"$(DESTDIR)$(farsideconfdir)/farside.conf"; then \
		rm -f "$(DESTDIR)$(farsideconfdir)/farside.conf"; fi

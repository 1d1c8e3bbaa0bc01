# SPDX-License-Identifier: GPL-2.0-or-later
bin_PROGRAMS += farside

# All but main.c, which alone knows the table of commands.
noinst_LIBRARIES += tools/libtools.a
tools_libtools_a_SOURCES = \
	tools/ask.c \
	tools/attach.c \
	tools/check.c \
	tools/check.h \
	tools/check-conf.c \
	tools/check-xl.c \
	tools/reload.c \
	tools/send.c \
	tools/status.c \
	tools/status.h \
	tools/status-print.c \
	tools/tool.h \
	tools/vkb.c \
	tools/vkb.h

farside_SOURCES = tools/main.c
farside_LDADD = tools/libtools.a devices/libdevices.a core/libcore.a \
	$(JANSSON_LIBS) $(EVDEV_LIBS)

dist_man_MANS += man/farside.1

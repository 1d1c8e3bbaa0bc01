# SPDX-License-Identifier: GPL-2.0-or-later
noinst_LIBRARIES += core/libcore.a

core_libcore_a_SOURCES = \
	core/clock.h \
	core/conf.c core/conf.h \
	core/conf-file.c \
	core/conf-keys.c core/conf-keys.h \
	core/conf-values.c \
	core/control.c core/control.h \
	core/counters.c core/counters.h \
	core/daemon.c core/daemon.h \
	core/error.c core/error.h \
	core/input.c core/input.h \
	core/local.c core/local.h \
	core/log.c core/log.h \
	core/loop.c core/loop.h \
	core/op.c core/op.h \
	core/shring.c core/shring.h \
	core/status.c core/status.h \
	core/uuid.c core/uuid.h

# SPDX-License-Identifier: GPL-2.0-or-later
# The protocols of Farside's own kinds, for whoever writes a frontend.
farsideiodir = $(includedir)/farside/io
farsideio_HEADERS = include/farside/io/fardoorbell.h \
	include/farside/io/farintc.h \
	include/farside/io/fartimer.h

# SPDX-License-Identifier: GPL-2.0-or-later
noinst_LIBRARIES += xenstore-schema/libschema.a
xenstore_schema_libschema_a_SOURCES = \
	xenstore-schema/schema-read.c xenstore-schema/schema-read.h
nodist_xenstore_schema_libschema_a_SOURCES = \
	xenstore-schema/schema.c xenstore-schema/schema.h

# Made in the build directory. Whoever includes schema.h says so, for a make
# of that target alone: $(ROOM_PROGRAM_OBJECTS): xenstore-schema/schema.h
SCHEMA = $(srcdir)/xenstore-schema/nodes.awk $(srcdir)/xenstore-schema/nodes.txt
SCHEMA_MAKE = $(AM_V_GEN)$(MKDIR_P) $(@D) && \
	LC_ALL=C $(AWK) -f $(srcdir)/xenstore-schema/nodes.awk
SCHEMA_INTO = $(srcdir)/xenstore-schema/nodes.txt >$@.new && mv $@.new $@

xenstore-schema/schema.h: $(SCHEMA)
	$(SCHEMA_MAKE) -v out=h $(SCHEMA_INTO)
xenstore-schema/schema.c: $(SCHEMA)
	$(SCHEMA_MAKE) -v out=c $(SCHEMA_INTO)
man/farside-xenstore.7: $(SCHEMA)
	$(SCHEMA_MAKE) -v out=7 $(SCHEMA_INTO)
$(xenstore_schema_libschema_a_OBJECTS): xenstore-schema/schema.h
$(nodist_xenstore_schema_libschema_a_OBJECTS): xenstore-schema/schema.h

nodist_man_MANS = man/farside-xenstore.7
BUILT_SOURCES += xenstore-schema/schema.h
CLEANFILES += xenstore-schema/schema.h xenstore-schema/schema.c \
	man/farside-xenstore.7
EXTRA_DIST += xenstore-schema/nodes.awk xenstore-schema/nodes.txt

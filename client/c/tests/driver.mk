# Builds conformance_driver in the current folder: the sources of the C++ client's driver, over cardbroker.hpp.
# Needs SOURCES, the folder client, and LIBRARY, the folder of libcardbroker.so.
proto := $(SOURCES)/../proto
contract := $(patsubst $(proto)/%.proto,%,$(wildcard $(proto)/cardbroker/v1/*.proto))
own := driver driver_answers driver_face driver_follower driver_messages
objects := $(own:=.o) $(contract:=.o)
vpath %.cpp $(SOURCES)/c/tests $(SOURCES)/cpp/tests

flags := -std=c++17 -MMD -MP -isystem . $(shell pkg-config --cflags protobuf)
strict := -g -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror

conformance_driver: $(objects)
	$(CXX) $^ -o $@ -L$(LIBRARY) -lcardbroker -Wl,-rpath,$(LIBRARY) $(shell pkg-config --libs protobuf) -pthread

%.o: %.cpp generated
	$(CXX) $(flags) $(strict) -DCARDBROKER_DRIVER_OF_C -I$(SOURCES)/c/include -I$(SOURCES)/cpp/tests -c $< -o $@

# Generated code has warnings.
$(contract:=.o): generated
	$(CXX) $(flags) -c $(@:.o=.pb.cc) -o $@

generated: $(contract:%=$(proto)/%.proto)
	protoc -I $(proto) --cpp_out=. $^
	touch $@

-include $(objects:.o=.d)

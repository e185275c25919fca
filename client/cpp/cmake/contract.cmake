# Generates code from the contract: protobuf's messages and gRPC's stubs for the library itself, and for its users
# <cardbroker/enums.h> with the contract's enums and their names.
get_filename_component(proto ${CMAKE_CURRENT_SOURCE_DIR}/../../proto ABSOLUTE)
set(CARDBROKER_GENERATED ${CMAKE_CURRENT_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${CARDBROKER_GENERATED}/contract)

if(TARGET gRPC::grpc_cpp_plugin)
    set(plugin $<TARGET_FILE:gRPC::grpc_cpp_plugin>)
else()
    find_program(CARDBROKER_GRPC_CPP_PLUGIN grpc_cpp_plugin)
    if(NOT CARDBROKER_GRPC_CPP_PLUGIN)
        message(FATAL_ERROR "grpc_cpp_plugin is missing: install protobuf-compiler-grpc")
    endif()
    set(plugin ${CARDBROKER_GRPC_CPP_PLUGIN})
endif()

set(files broker command error reader session transmit turn service)
set(sources)
set(protos)
foreach(file IN LISTS files)
    # The code below reads the enums at configure time.
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${proto}/cardbroker/v1/${file}.proto)
    list(APPEND protos ${proto}/cardbroker/v1/${file}.proto)
    list(APPEND sources ${CARDBROKER_GENERATED}/contract/cardbroker/v1/${file}.pb.cc)
endforeach()
list(APPEND sources ${CARDBROKER_GENERATED}/contract/cardbroker/v1/service.grpc.pb.cc)
add_custom_command(
    OUTPUT ${sources}
    COMMAND protobuf::protoc -I ${proto} --cpp_out=${CARDBROKER_GENERATED}/contract
            --grpc_out=${CARDBROKER_GENERATED}/contract --plugin=protoc-gen-grpc=${plugin} ${protos}
    DEPENDS ${protos}
    VERBATIM)
add_library(cardbroker_contract OBJECT ${sources})
target_compile_features(cardbroker_contract PUBLIC cxx_std_17)
target_include_directories(cardbroker_contract SYSTEM PUBLIC ${CARDBROKER_GENERATED}/contract)
target_link_libraries(cardbroker_contract PUBLIC gRPC::grpc++ protobuf::libprotobuf)

# `ERROR_REASON_NO_CARD = 5;` of `enum ErrorReason` becomes `NoCard = 5,` of `enum class ErrorReason`, with its comment;
# its short name is NO_CARD.
set(header "// The contract's enums, from proto/cardbroker/v1. A value newer than this client keeps its number.
#pragma once

#include <iosfwd>
#include <string>

namespace cardbroker {
")
set(definitions "// The names of the contract's enums.
#include <cardbroker/enums.h>

#include <ostream>

namespace cardbroker {
")
foreach(file IN LISTS protos)
    file(STRINGS ${file} lines ENCODING UTF-8)
    set(enum)
    set(comment)
    foreach(line IN LISTS lines)
        if(line MATCHES "^( *)//(.*)$")
            string(APPEND comment "${CMAKE_MATCH_1}${CMAKE_MATCH_1}///${CMAKE_MATCH_2}\n")
            continue()
        endif()
        if(line MATCHES "^enum ([A-Za-z]+) {")
            set(enum ${CMAKE_MATCH_1})
            string(REGEX REPLACE "([a-z])([A-Z])" "\\1_\\2" prefix ${enum})
            string(TOUPPER ${prefix} prefix)
            string(APPEND header "\n${comment}enum class ${enum} : int {\n")
            string(APPEND definitions "\nstd::string to_string(${enum} value) {\n    switch (value) {\n")
        elseif(enum AND line MATCHES "^  ${prefix}_([A-Z0-9_]+) = ([0-9]+)")
            set(short ${CMAKE_MATCH_1})
            set(number ${CMAKE_MATCH_2})
            string(REPLACE "_" ";" words ${short})
            set(name)
            foreach(word IN LISTS words)
                string(SUBSTRING ${word} 0 1 initial)
                string(SUBSTRING ${word} 1 -1 rest)
                string(TOLOWER "${rest}" rest)
                string(APPEND name "${initial}${rest}")
            endforeach()
            string(APPEND header "${comment}    ${name} = ${number},\n")
            string(APPEND definitions "        case ${enum}::${name}:\n            return \"${short}\";\n")
        elseif(enum AND line MATCHES "^}")
            string(APPEND header "};\n/// The short name in capitals: \"NO_CARD\"; the number of an unknown value.
std::string to_string(${enum} value);
std::ostream& operator<<(std::ostream& out, ${enum} value);\n")
            string(APPEND definitions "    }\n    return std::to_string(static_cast<int>(value));\n}\n
std::ostream& operator<<(std::ostream& out, ${enum} value) { return out << to_string(value); }\n")
            set(enum)
        endif()
        set(comment)
    endforeach()
endforeach()
file(GENERATE OUTPUT ${CARDBROKER_GENERATED}/enums.cpp CONTENT "${definitions}\n}  // namespace cardbroker\n")
file(GENERATE OUTPUT ${CARDBROKER_GENERATED}/include/cardbroker/enums.h
    CONTENT "${header}\n}  // namespace cardbroker\n")

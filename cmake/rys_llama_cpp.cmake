# Obtains llama.cpp, patches it (vendor/llama.cpp/obtain.py) and adds the part of it that the library needs.
# Every GGML_* and LLAMA_* option that upstream knows can be given on the command line.
# Sets RYS_LLAMA_CPP_DIR (the patched sources), RYS_LLAMA_CPP_ORIGIN and RYS_LLAMA_CPP_COMMIT.

set(RYS_LLAMA_CPP_SOURCE "" CACHE PATH
    "rys: a checkout or archive of llama.cpp to build from, instead of the pinned source distribution")
if(NOT RYS_LLAMA_CPP_SOURCE) # the environment's is for this build alone, and so not kept in the cache
    set(RYS_LLAMA_CPP_SOURCE "$ENV{RYS_LLAMA_CPP_SOURCE}")
endif()
set(RYS_LLAMA_CPP_DIR "${CMAKE_BINARY_DIR}/llama.cpp")
set(vendor "${CMAKE_CURRENT_SOURCE_DIR}/vendor/llama.cpp")

execute_process(
    COMMAND "${Python_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/vendor/llama.cpp/obtain.py"
            --output "${RYS_LLAMA_CPP_DIR}" "--source=${RYS_LLAMA_CPP_SOURCE}"
    ERROR_VARIABLE error
    RESULT_VARIABLE result)
if(NOT result EQUAL 0)
    # CMake leaves indented lines as they are and fills the others
    string(REPLACE "\n" "\n " error " ${error}")
    message(FATAL_ERROR "${error}")
endif()
include("${RYS_LLAMA_CPP_DIR}.cmake")

# what the copy was made from: a change there runs this file again
file(GLOB inputs CONFIGURE_DEPENDS "${vendor}/patches/*.patch")
if(IS_DIRECTORY "${RYS_LLAMA_CPP_SOURCE}")
    foreach(root "${RYS_LLAMA_CPP_SOURCE}" "${RYS_LLAMA_CPP_SOURCE}/vendor/llama.cpp")
        file(GLOB_RECURSE sources "${root}/src/*.cpp" "${root}/src/*.h" "${root}/ggml/*.c*" "${root}/ggml/*.h" "${root}/include/*.h")
        list(APPEND inputs ${sources})
    endforeach()
endif()
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
    ${inputs} "${vendor}/pin.json" vendor/llama.cpp/obtain.py vendor/llama.cpp/apply_patches.py)

set(BUILD_SHARED_LIBS ON)
foreach(part COMMON TESTS TOOLS EXAMPLES SERVER APP UI MTMD)
    set(LLAMA_BUILD_${part} OFF)
endforeach()

if(NOT DEFINED LLAMA_ALL_WARNINGS)
    set(LLAMA_ALL_WARNINGS OFF) # they are upstream's to mend; gcc 12 alone gives 800 about its own headers
endif()

# upstream would ask git, and be told the commit of whatever repository the build tree lies in
set(LLAMA_BUILD_NUMBER 0)
set(LLAMA_BUILD_COMMIT "${RYS_LLAMA_CPP_COMMIT}")
find_program(RYS_NO_GIT true)
set(GIT_EXECUTABLE "${RYS_NO_GIT}" CACHE INTERNAL "") # llama.cpp's name for it
set(GIT_EXE "" CACHE INTERNAL "") # ggml's

# the file names in the messages of failed assertions; ccache shortens them by itself, and would miss with this option
if(NOT RYS_CCACHE_PROGRAM)
    add_compile_options("$<$<COMPILE_LANG_AND_ID:C,GNU,Clang,AppleClang>:-fmacro-prefix-map=${CMAKE_BINARY_DIR}/=>"
                        "$<$<COMPILE_LANG_AND_ID:CXX,GNU,Clang,AppleClang>:-fmacro-prefix-map=${CMAKE_BINARY_DIR}/=>")
endif()

# EXCLUDE_FROM_ALL: none of upstream's headers, CMake packages and pkg-config files are installed
add_subdirectory("${RYS_LLAMA_CPP_DIR}" "${CMAKE_BINARY_DIR}/llama.cpp-build" EXCLUDE_FROM_ALL)

# rys's own part of libllama
file(GLOB own_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/csrc/llama/*.cpp")
target_sources(llama PRIVATE ${own_sources})
set_source_files_properties(${own_sources} TARGET_DIRECTORY llama PROPERTIES
    SKIP_UNITY_BUILD_INCLUSION ON
    COMPILE_OPTIONS "$<$<CXX_COMPILER_ID:GNU,Clang,AppleClang>:-Wall;-Wextra>")
target_include_directories(llama PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/csrc/llama")

# an abort callback that throws unwinds through ggml's C code
target_compile_options(ggml-base PRIVATE "$<$<COMPILE_LANG_AND_ID:C,GNU,Clang,AppleClang>:-fexceptions>")

if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
    target_sources(ggml-base PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/csrc/ggml/huge_pages.c")
    target_link_options(ggml-base PRIVATE "LINKER:--wrap=posix_memalign")
endif()

# libllama, libggml and all backends that are enabled
function(rys_own_libraries folder)
    get_property(targets DIRECTORY "${folder}" PROPERTY BUILDSYSTEM_TARGETS)
    foreach(target IN LISTS targets)
        get_target_property(type ${target} TYPE)
        if(type MATCHES "^(SHARED|MODULE)_LIBRARY$")
            rys_own_library(${target})
        endif()
    endforeach()
    get_property(folders DIRECTORY "${folder}" PROPERTY SUBDIRECTORIES)
    foreach(subfolder IN LISTS folders)
        rys_own_libraries("${subfolder}")
    endforeach()
endfunction()
rys_own_libraries("${RYS_LLAMA_CPP_DIR}")
set_target_properties(llama PROPERTIES UNITY_BUILD_RELATIVE_PATHS ON) # CMake 4: lets ccache work across clones

install(FILES "${RYS_LLAMA_CPP_DIR}/LICENSE" DESTINATION lib RENAME LICENSE-llama.cpp COMPONENT rys)
